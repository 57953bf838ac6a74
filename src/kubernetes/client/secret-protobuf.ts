/**
 * A Secret as Kubernetes' protobuf (k8s.io/api/core/v1/generated.proto, k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto), which
 * costs the API server less to read than JSON. Only what this writes whole: an object with a field that is not here, or a value of
 * another type, is sent as JSON, so that nothing of it is lost.
 */
import type { ObjectMeta } from '../objects.ts';
import { ProtobufWriter } from './protobuf-writer.ts';

export const PROTOBUF_TYPE = 'application/vnd.kubernetes.protobuf';

/** Before every object: apimachinery/pkg/runtime/serializer/protobuf. */
const MAGIC = Buffer.from('k8s\0');
/** runtime.Unknown */
const UNKNOWN = { typeMeta: 1, raw: 2 } as const;
const TYPE_META = { apiVersion: 1, kind: 2 } as const;
const SECRET = { metadata: 1, data: 2, type: 3 } as const;
const ENTRY = { key: 1, value: 2 } as const;
const TEXTS = { name: 1, generateName: 2, namespace: 3, uid: 5, resourceVersion: 6 } as const;
const ENTRIES = { labels: 11, annotations: 12 } as const;
const OBJECT_META = { ownerReferences: 13, finalizers: 14 } as const;
const OWNER_TEXTS = { kind: 1, name: 3, uid: 4, apiVersion: 5 } as const;
const OWNER_FLAGS = { controller: 6, blockOwnerDeletion: 7 } as const;

interface SecretObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/** Thrown and caught here: somewhere in the object is something that this does not write. */
class NotExpressible extends Error {}

/** Undefined where only JSON says all of it. */
export function encodeSecret(object: SecretObject): Uint8Array | undefined {
  const writer = new ProtobufWriter();
  try {
    writer.raw(MAGIC);
    writer.message(UNKNOWN.typeMeta, () => {
      text(writer, TYPE_META.apiVersion, object.apiVersion);
      text(writer, TYPE_META.kind, object.kind);
    });
    writer.message(UNKNOWN.raw, () => secret(writer, object));
    return writer.finish();
  } catch (error) {
    if (error instanceof NotExpressible) return undefined;
    throw error;
  }
}

function secret(writer: ProtobufWriter, object: SecretObject): void {
  for (const [name, value] of fieldsOf(object)) {
    if (name === 'metadata') writer.message(SECRET.metadata, () => metadata(writer, value));
    else if (name === 'type') text(writer, SECRET.type, value);
    else if (name === 'data') data(writer, value);
    else if (name !== 'apiVersion' && name !== 'kind') throw new NotExpressible();
  }
}

function data(writer: ProtobufWriter, values: unknown): void {
  for (const [key, value] of fieldsOf(values)) {
    writer.message(SECRET.data, () => {
      writer.text(ENTRY.key, key);
      if (typeof value !== 'string' || !writer.base64(ENTRY.value, value)) throw new NotExpressible();
    });
  }
}

function metadata(writer: ProtobufWriter, meta: unknown): void {
  for (const [name, value] of fieldsOf(meta)) {
    if (isKeyOf(TEXTS, name)) text(writer, TEXTS[name], value);
    else if (isKeyOf(ENTRIES, name)) entries(writer, ENTRIES[name], value);
    else if (name === 'ownerReferences') {
      for (const owner of itemsOf(value)) writer.message(OBJECT_META.ownerReferences, () => ownerOf(writer, owner));
    } else if (name === 'finalizers') {
      for (const finalizer of itemsOf(value)) text(writer, OBJECT_META.finalizers, finalizer);
    } else throw new NotExpressible();
  }
}

function entries(writer: ProtobufWriter, field: number, values: unknown): void {
  for (const [key, value] of fieldsOf(values)) {
    writer.message(field, () => {
      writer.text(ENTRY.key, key);
      text(writer, ENTRY.value, value);
    });
  }
}

function ownerOf(writer: ProtobufWriter, owner: unknown): void {
  for (const [name, value] of fieldsOf(owner)) {
    if (isKeyOf(OWNER_TEXTS, name)) text(writer, OWNER_TEXTS[name], value);
    else if (isKeyOf(OWNER_FLAGS, name) && typeof value === 'boolean') writer.flag(OWNER_FLAGS[name], value);
    else throw new NotExpressible();
  }
}

function text(writer: ProtobufWriter, field: number, value: unknown): void {
  if (typeof value !== 'string') throw new NotExpressible();
  writer.text(field, value);
}

/** JSON leaves out what is undefined. */
function fieldsOf(value: unknown): readonly (readonly [string, unknown])[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new NotExpressible();
  return Object.entries(value).filter((entry) => entry[1] !== undefined);
}

function itemsOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new NotExpressible();
  return value;
}

function isKeyOf<T extends object>(fields: T, name: string): name is Extract<keyof T, string> {
  return Object.hasOwn(fields, name);
}
