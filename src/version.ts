declare const DCRED_VERSION: string | undefined;
declare const DCRED_COMMIT: string | undefined;

/** Set when the bundle is built; run from the sources, it is a development version. */
export const VERSION = typeof DCRED_VERSION === 'string' ? DCRED_VERSION : 'development';
export const COMMIT = typeof DCRED_COMMIT === 'string' ? DCRED_COMMIT : 'unknown';
