/** What a preflight check reports: one line for each thing that was checked. */

export type Level = 'ok' | 'warning' | 'problem';

export interface Finding {
  readonly level: Level;
  /** What was checked, in one word, for scripts: `ClockSkew`. */
  readonly check: string;
  /** What was found. */
  readonly message: string;
  /** What to do; absent where there is nothing to do. */
  readonly remedy?: string;
}

export function ok(check: string, message: string): Finding {
  return { level: 'ok', check, message };
}

/** Something does not work, or could not be checked; credentials are still issued. */
export function warning(check: string, message: string, remedy: string): Finding {
  return { level: 'warning', check, message, remedy };
}

/** No credential is issued, or no pod gets one, until this is corrected. */
export function problem(check: string, message: string, remedy: string): Finding {
  return { level: 'problem', check, message, remedy };
}
