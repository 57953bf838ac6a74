/** What `make build` makes for the image: dcred in several files of one folder. */

export interface AppFile {
  readonly name: string;
  readonly contents: Uint8Array;
}

/** The one of them that is run. */
export const ENTRY = 'dcred.mjs';
