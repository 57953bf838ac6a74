/** What completion offers for a word. */

/** What the shells' scripts run. */
export const COMPLETE_COMMAND = '__complete';

export interface Candidate {
  readonly word: string;
  readonly description?: string;
}

/** Names that the cluster, or the kubeconfig, has. */
export type LiveKind = 'DelegatedCredential' | 'Pod' | 'IssuedSecret' | 'CertificateSecret' | 'Namespace' | 'Context';

export type Expected =
  /** `open`: the word goes on after it, as after `secret/`; `orFiles`: where none of them fits, files do. */
  | {
      readonly kind: 'words';
      readonly words: readonly Candidate[];
      readonly open?: boolean;
      readonly orFiles?: boolean;
    }
  /** `prefix`: goes before each name. `except`: names that are on the line already. */
  | {
      readonly kind: 'names';
      readonly of: LiveKind;
      readonly prefix?: string;
      readonly except?: readonly string[];
    }
  | { readonly kind: 'files' }
  | { readonly kind: 'directories' }
  | { readonly kind: 'nothing' };

/** For commands that take names of DelegatedCredentials. */
export function resourcesExcept(given: readonly string[]): Expected {
  return { kind: 'names', of: 'DelegatedCredential', except: given };
}
