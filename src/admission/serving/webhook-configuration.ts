/** The MutatingWebhookConfiguration. This server writes only the `caBundle` of each of its webhooks. */
import type { KubernetesObject } from '../../kubernetes/objects.ts';
import { mergeBundle, readBundle, type TrustedAuthority } from './trust-bundle.ts';

export type WebhookConfiguration = KubernetesObject<{
  readonly webhooks?: readonly {
    readonly name: string;
    readonly clientConfig: { readonly caBundle?: string };
  }[];
}>;

/** The CAs that every one of its webhooks trusts. */
export function trustedAuthorities({ webhooks = [] }: WebhookConfiguration): readonly TrustedAuthority[] {
  const [first = [], ...others] = webhooks.map(({ clientConfig }) => readBundle(decode(clientConfig.caBundle)));
  return first.filter(({ id }) => others.every((bundle) => bundle.some((one) => one.id === id)));
}

/**
 * The configuration with these CAs in every bundle, as server-side apply takes it: only the fields that we own, conditional on the
 * version that was read.
 */
export function trusting(
  { metadata, webhooks = [] }: WebhookConfiguration,
  needed: readonly Pick<TrustedAuthority, 'id' | 'pem'>[],
  now: number,
) {
  const { name, resourceVersion } = metadata;
  return {
    metadata: { name: name ?? '', ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    webhooks: webhooks.map(({ clientConfig, name: webhook }) => {
      const bundle = mergeBundle(readBundle(decode(clientConfig.caBundle)), needed, now);
      return { name: webhook, clientConfig: { caBundle: Buffer.from(bundle).toString('base64') } };
    }),
  };
}

function decode(text = ''): string {
  return Buffer.from(text, 'base64').toString();
}
