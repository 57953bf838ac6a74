import { isRecord } from './is-record.ts';

/** Where js-yaml could not go on, or what it found instead of one document. Its message is not shown: it quotes the text, which may hold a key. */
export function explainYamlError(error: unknown): string {
  const { mark, reason } = isRecord(error) ? error : {};
  if (isRecord(mark) && typeof mark['line'] === 'number' && typeof mark['column'] === 'number') {
    return `the error is at or before line ${mark['line'] + 1}, column ${mark['column'] + 1}`;
  }
  return typeof reason === 'string' ? reason : 'it is not YAML';
}
