const { getDefaultConfig, mergeConfig } = require('@react-native/metro-config');

module.exports = mergeConfig(getDefaultConfig(__dirname), {
  // Of React Native itself, which would be loaded first, nothing is installed here
  serializer: { getModulesRunBeforeMainModule: () => [] },
  // As Expo has it: what is imported is loaded at once, and not where it is first used
  transformer: { getTransformOptions: () => ({ transform: { inlineRequires: false } }) },
});
