/**
 * A plugin of typedoc by which typedoc-plugin-markdown writes one page for each entry of the package, for readers on a
 * code host. What a signature shows is not repeated below it, and only named things have headings.
 */
import { Converter, LiteralType, ReflectionFlag, ReflectionKind, UnionType } from 'typedoc';
import { MarkdownPageEvent, MarkdownTheme, MarkdownThemeContext, ModuleRouter } from 'typedoc-plugin-markdown';

/** For each module that is an entry: the name by which it is imported, the name of its page, and its source file. */
const entries = {
  index: { name: 'dispatch-layout', page: 'api', source: 'ts/index.ts' },
  'devices/cuda': { name: 'dispatch-layout/cuda', page: 'api-cuda', source: 'ts/devices/cuda/index.ts' },
  routing: { name: 'dispatch-layout/routing', page: 'api-routing', source: 'ts/routing/index.ts' },
  placement: { name: 'dispatch-layout/placement', page: 'api-placement', source: 'ts/placement/index.ts' },
};

export function load(app) {
  /** TypeScript's own types of the aliases, which are no longer available when all sources have been read. */
  const types = new Map();
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    if (reflection.kind !== ReflectionKind.TypeAlias) return;
    types.set(reflection, context.checker.getDeclaredTypeOfSymbol(context.getSymbolFromReflection(reflection)));
  });
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const [alias, type] of types) showNames(alias, type);
    for (const module of project.getReflectionsByKind(ReflectionKind.Module)) {
      Object.assign(module, entries[module.name]);
    }
    project.getReflectionsByKind(ReflectionKind.Accessor).forEach(makeProperty);
    for (const parameter of project.getReflectionsByKind(ReflectionKind.Parameter)) {
      if (parameter.name === '__namedParameters') parameter.name = 'details'; // it is destructured
    }
  });
  app.renderer.on(MarkdownPageEvent.END, (page) => {
    const text = page.contents.replace(/<a id="[^"]*"><\/a> /g, '').replace(/ +$/gm, '');
    // The reader of routing files has codes of its own, of which one has the name of another error
    page.contents = page.model.page === 'api-routing' ? text : linkErrors(text, page.project);
  });
  app.renderer.defineRouter('pages', PageRouter);
  app.renderer.defineTheme('pages', PageTheme);
}

/** `(typeof names)[number]` is shown as the union of the names. */
function showNames(alias, { types }) {
  if (alias.type?.type !== 'indexedAccess' || !types?.every((type) => type.isStringLiteral())) return;
  alias.type = new UnionType(types.map(({ value }) => new LiteralType(value)));
}

/** A getter is shown as a property, since it is one for callers. */
function makeProperty(accessor) {
  const { comment, type } = accessor.getSignature;
  Object.assign(accessor, { kind: ReflectionKind.Property, comment, type, getSignature: undefined });
  accessor.setFlag(ReflectionFlag.Readonly);
}

/** Makes the codes of errors links to their pages. */
function linkErrors(text, project) {
  const union = project.getReflectionsByKind(ReflectionKind.TypeAlias).find(({ name }) => name === 'ErrorCode');
  const codes = union.type.types.map(({ value }) => value).join('|');
  return text.replace(new RegExp(`\`(${codes})\``, 'g'), '[`$1`](errors/$1.md)');
}

class PageRouter extends ModuleRouter {
  /** There is no page for all entries together. */
  buildPages(project) {
    return super.buildPages(project).filter(({ model }) => model !== project);
  }

  getIdealBaseName(reflection) {
    return reflection.page ?? super.getIdealBaseName(reflection);
  }
}

class PageTheme extends MarkdownTheme {
  getRenderContext(page) {
    return new PageContext(this, page, this.application.options);
  }
}

class PageContext extends MarkdownThemeContext {
  constructor(...args) {
    super(...args);
    const { helpers, partials } = this;
    const { declaration, signatureTitle, unionType } = partials;
    const { getDescriptionForComment } = helpers;

    // An overview has only the first sentence
    helpers.getDescriptionForComment = (comment) => getDescriptionForComment(comment)?.replace(/\. (?=[A-Z`[]).*/, '.');

    Object.assign(partials, {
      memberWithGroups: (model, options) =>
        model.kind === ReflectionKind.Module ? this.entry(model) : this.classOrInterface(model, options),
      members: (members, options) => blocks(members.map((member) => partials.memberContainer(member, options))),
      constructor: (model, { headingLevel }) =>
        blocks(`${'#'.repeat(headingLevel)} new ${model.parent.name}()`, partials.signatures(model)),
      // Overloads have one description, which is given for the last of them, the most general one
      signatures: ({ signatures }) =>
        blocks(
          blocks(signatures.map((signature) => partials.signatureTitle(signature))).replaceAll(
            '\n```\n\n```ts\n',
            '\n',
          ),
          partials.signature(signatures.at(-1)),
        ),
      signatureTitle: (...args) => signatureTitle(...args).replace(/^ {3}(?=\S)/gm, '  '),
      signature: (model) => this.signature(model),
      declaration: (model, options) =>
        model.type?.elementSummaries
          ? this.codes(model)
          : declaration(model, options).replace(/^#+ Type Parameters\n+(\|.*\n?)+/m, ''),
      unionType: (model) =>
        unionType(model)
          .replace(/\s*\\\| */g, ' \\| ')
          .replace(/^ \\\| /, ''),
      inheritance: () => '',
    });
  }

  /** The page of an entry: an overview, and then everything that it exports. */
  entry({ comment, groups, source }) {
    const { partials } = this;
    const sections = groups.map(({ title, children }) => ({ title, children: children.toSorted(byName) }));
    const own = sections.filter(({ title }) => title !== 'References');
    const others = sections.find(({ title }) => title === 'References')?.children ?? [];
    const link = (name, model) => `[${name}](${this.urlTo(model)})`;
    const links = others.map((reference) => link(reference.name, reference.getTargetReflectionDeep()));
    const entries = this.page.project.children.filter((entry) => entry.source !== source);
    return blocks(
      `<!-- Made by ./build.sh docs from the doc comments of what ${source} exports: edit those. -->`,
      partials.comment(comment),
      `The other entries of the package: ${entries.map((entry) => link(entry.name, entry)).join(', ')}.`,
      own.map((section) => partials.groupIndex(section)),
      links.length > 0 && `Exported here, too: ${links.join(', ')}.`,
      own.map(({ title, children }) => blocks(`## ${title}`, partials.members(children, { headingLevel: 3 }))),
    );
  }

  /** A class or an interface, with its signature if that says more than its name. */
  classOrInterface({ comment, groups = [], kind, name, typeHierarchy, typeParameters }, { headingLevel }) {
    const { partials } = this;
    const keyword = this.helpers.getKeyword(kind) ?? 'interface';
    const parameters = typeParameters?.map((parameter) => {
      const { type, default: usual } = parameter;
      return `${parameter.name}${type ? ` extends ${type}` : ''}${usual ? ` = ${usual}` : ''}`;
    });
    const parents = typeHierarchy?.isTarget ? [] : (typeHierarchy?.types ?? []);
    const known = parents.filter((type) => type.reflection || type.package !== 'dispatch-layout');
    return blocks(
      parameters && `\`\`\`ts\n${keyword} ${name}<${parameters.join(', ')}>\n\`\`\``,
      partials.comment(comment),
      known.length > 0 && `Extends ${known.map((type) => partials.someType(type)).join(', ')}.`,
      groups.map(({ children }) =>
        children[0].kind === ReflectionKind.Property
          ? partials.propertiesTable(children, { kind })
          : partials.members(children, { headingLevel }),
      ),
    );
  }

  /** What is shown of a function below its title. */
  signature({ comment, kind, parameters = [], type }) {
    const { partials } = this;
    const lineOf = ({ content }) => this.helpers.getCommentParts(content).replace(/\s*\n\s*/g, ' ');
    const returned = kind === ReflectionKind.ConstructorSignature ? '' : partials.someType(type);
    const returns = comment?.getTag('@returns');
    const errors = comment?.getTags('@throws') ?? [];
    return blocks(
      comment && partials.comment(comment, { showTags: false }),
      parameters.length > 0 && partials.parametersTable(parameters),
      returns ? `Returns ${lineOf(returns)}` : returned.includes('](') && `Returns ${returned}.`,
      errors.length > 0 && 'Throws:',
      errors.map((error) => `- ${lineOf(error)}`).join('\n'),
    );
  }

  /** A union type of which each value has a doc comment. */
  codes({ comment, type }) {
    const rows = type.types.map(
      ({ value }, index) => `| \`${value}\` | ${this.helpers.getCommentParts(type.elementSummaries[index])} |`,
    );
    return blocks(this.partials.comment(comment), ['| value | meaning |', '| --- | --- |', ...rows].join('\n'));
  }
}

function byName(one, other) {
  return one.name < other.name ? -1 : 1;
}

function blocks(...parts) {
  return parts.flat().filter(Boolean).join('\n\n');
}
