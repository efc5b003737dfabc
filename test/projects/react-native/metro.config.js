const { getDefaultConfig, mergeConfig } = require('@react-native/metro-config');

module.exports = mergeConfig(getDefaultConfig(__dirname), {
  // Metro would load modules of React Native first, but React Native itself is not installed here.
  serializer: { getModulesRunBeforeMainModule: () => [] },
  // As in Expo, imported modules are loaded at once, not at their first use.
  transformer: { getTransformOptions: () => ({ transform: { inlineRequires: false } }) },
});
