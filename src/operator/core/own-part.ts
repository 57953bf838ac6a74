/** Of a status, what dcred writes: conditions of other types belong to other clients, which write them as they please. Pure. */
export function ownPart<S extends { readonly conditions?: readonly { readonly type: string }[] | undefined }>(
  status: S,
  ownTypes: ReadonlySet<string>,
): S {
  if (status.conditions === undefined) return status;
  return { ...status, conditions: status.conditions.filter(({ type }) => ownTypes.has(type)) };
}
