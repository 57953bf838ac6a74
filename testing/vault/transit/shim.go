// Package transit is Vault's own, copied here when it is built: see vault.ts. This file adds what it takes from a later SDK.
package transit

import (
	"context"

	"github.com/hashicorp/vault/sdk/logical"
)

// TryRecordObservationWithRequest is a method of the SDK's backend from 0.21 on; nothing is observed here.
func (b *backend) TryRecordObservationWithRequest(context.Context, *logical.Request, string, map[string]interface{}) {
}
