const CODES = { red: 31, green: 32, yellow: 33, grey: 90 } as const;

/** ANSI colours, where they are wanted. */
export function paint(text: string, colour: keyof typeof CODES | undefined, wanted: boolean): string {
  return colour === undefined || !wanted ? text : `\u001b[${CODES[colour]}m${text}\u001b[0m`;
}
