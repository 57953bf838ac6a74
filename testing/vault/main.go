// A Vault for tests: Vault's own core, HTTP API, transit engine and Kubernetes authentication, with storage in memory and without
// everything else of the vault binary, which takes ten times as long to build.
//
//	vault ADDRESS
//
// Prints {"unsealKey": "...", "rootToken": "..."} once it is unsealed and listens.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	log "github.com/hashicorp/go-hclog"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	"github.com/hashicorp/vault/audit"
	"dcred.dev/testing/vault/transit"
	"github.com/hashicorp/vault/command/server"
	"github.com/hashicorp/vault/helper/metricsutil"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

func main() {
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(address string) error {
	logger := log.New(&log.LoggerOptions{Level: log.Warn, Output: os.Stderr})
	storage, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return err
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           storage,
		LogicalBackends:    map[string]logical.Factory{"transit": transit.Factory},
		CredentialBackends: map[string]logical.Factory{"kubernetes": kubernetes.Factory},
		AuditBackends:      map[string]audit.Factory{},
		BuiltinRegistry:    builtins{},
		DisableMlock:       true,
		Logger:             logger,
		DefaultLeaseTTL:    time.Hour,
		MaxLeaseTTL:        24 * time.Hour,
		MetricSink:         metricsutil.BlackholeSink(),
		RawConfig: &server.Config{SharedConfig: &configutil.SharedConfig{
			Listeners: []*configutil.Listener{{Type: configutil.TCP, Address: address}},
		}},
	})
	if err != nil {
		return err
	}
	ctx := context.Background()
	result, err := core.Initialize(ctx, &vault.InitParams{
		BarrierConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
	})
	if err != nil {
		return err
	}
	if _, err := core.Unseal(result.SecretShares[0]); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core:           core,
		ListenerConfig: &configutil.Listener{Type: configutil.TCP, Address: address},
		RecoveryMode:   false,
	})
	err = json.NewEncoder(os.Stdout).Encode(map[string]string{
		"unsealKey": hex.EncodeToString(result.SecretShares[0]),
		"rootToken": result.RootToken,
	})
	if err != nil {
		return err
	}
	return (&http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}).Serve(listener)
}

// builtins names the engines that this Vault has: those are given to the core directly.
type builtins struct{}

func (builtins) Contains(name string, _ consts.PluginType) bool {
	return name == "transit" || name == "kubernetes"
}

func (builtins) Get(string, consts.PluginType) (func() (interface{}, error), bool) { return nil, false }

func (builtins) Keys(consts.PluginType) []string { return []string{} }

func (builtins) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, true
}

func (builtins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }
