/** What one pod may request by `dcred.dev/inject`: bounded before it is read, because a pod's author is a stranger. */
import { isDnsLabel } from '../text/dns-name.ts';
import { ownedCopy } from '../text/owned-copy.ts';
import { printable } from '../text/printable.ts';
import { MAX_NAME_LENGTH } from './delegated-credential.ts';
import { INJECT_KEY } from './keys.ts';

/** Every resource is a volume of the pod, and a mount in every container. */
export const MAX_INJECTED_RESOURCES = 16;

/** Of the annotation: 16 names of 40 characters and their separators are a third of it. An annotation may have 262,144. */
const MAX_TEXT_LENGTH = 2048;
const MAX_INVALID_SHOWN = 3;

type Entries = Readonly<Record<string, string>>;

export interface InjectRequest {
  /** The resources that the pod asks for: valid names, each once, at most 16. */
  readonly names: readonly string[];
  /** What of the request is ignored, each a sentence that says what to do. */
  readonly problems: readonly string[];
}

const NOTHING: InjectRequest = Object.freeze({ names: Object.freeze([]), problems: Object.freeze([]) });

/** What other injectors are switched off by; here the label itself is the switch. */
const OPTED_OUT: InjectRequest = Object.freeze({
  names: NOTHING.names,
  problems: Object.freeze([`label ${INJECT_KEY} is "false", which requests nothing: remove the label`]),
});

/** Whether a DelegatedCredential may have this name. The CRD's own rules say the same. */
export function isResourceName(name: string): boolean {
  return name.length <= MAX_NAME_LENGTH && isDnsLabel(name);
}

/**
 * The label is the switch and names one resource; the annotation of the same name, where the label is present, may name
 * several, comma-separated. Costs O(1), whatever the length of the annotation.
 */
export function readInjectRequest(labels: Entries, annotations: Entries): InjectRequest {
  const label = labels[INJECT_KEY];
  if (label === undefined) return NOTHING;
  if (label === 'false') return OPTED_OUT;
  const text = annotations[INJECT_KEY] ?? '';
  const asked = [label, ...text.slice(0, MAX_TEXT_LENGTH).split(',')].map((name) => name.trim());
  // A name that the limit cuts in two is not a name.
  if (text.length > MAX_TEXT_LENGTH) asked.pop();
  const unique = [...new Set(asked.filter((name) => name !== ''))];
  const valid = unique.filter(isResourceName);
  const invalid = unique.filter((name) => !isResourceName(name));
  return {
    names: valid.slice(0, MAX_INJECTED_RESOURCES).map(ownedCopy),
    problems: [...invalidProblems(invalid), ...excessProblems(valid.length, text.length)],
  };
}

function invalidProblems(invalid: readonly string[]): readonly string[] {
  const shown = invalid
    .slice(0, MAX_INVALID_SHOWN)
    .map(
      (name) =>
        `${INJECT_KEY} names "${printable(name, 60)}", which cannot be the name of a DelegatedCredential (at most ` +
        `${MAX_NAME_LENGTH} lower-case letters, digits and "-"): correct it and re-create the pod`,
    );
  const omitted = invalid.length - shown.length;
  return omitted === 0 ? shown : [...shown, `${INJECT_KEY} has ${omitted} more names that are not valid`];
}

function excessProblems(valid: number, length: number): readonly string[] {
  if (length > MAX_TEXT_LENGTH) {
    return [
      `annotation ${INJECT_KEY} has ${length} characters and only the first ${MAX_TEXT_LENGTH} are read: name at most ` +
        `${MAX_INJECTED_RESOURCES} resources`,
    ];
  }
  if (valid <= MAX_INJECTED_RESOURCES) return [];
  return [`${INJECT_KEY} names ${valid} resources and only the first ${MAX_INJECTED_RESOURCES} are served: name fewer`];
}
