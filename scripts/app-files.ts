/** What `make build` makes for the image: dcred in several files. */

export interface AppFile {
  /** Relative to the folder of ENTRY, with slashes. */
  readonly name: string;
  readonly contents: Uint8Array;
}

/** The entry point among them. */
export const ENTRY = 'dcred.mjs';
