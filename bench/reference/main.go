// The operator's hot path as a Go team would write it: controller-runtime, pods and Secrets cached as metadata, one POST a
// credential, one PUT and one annotation of the pod a re-issue. It serves one namespace and one certificate, writes no status, no
// Event and no log line for a credential: less than dcred does, so a comparison errs in its favour.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/go-logr/logr"
)

const (
	managedBy    = "app.kubernetes.io/managed-by"
	manager      = "dcred" // What the chart's admission policy lets its service account write.
	leafHash     = "dcred.dev/certificate-sha256"
	podName      = "dcred.dev/pod-name"
	renewedAt    = "dcred.dev/renewed-at"
	certificate  = "web-tls"
	secretPrefix = "web-"
	lifetime     = 48 * time.Hour
)

type reconciler struct {
	client    client.Client
	namespace string
	leaf      atomic.Pointer[leaf]
	all       chan event.TypedGenericEvent[*metav1.PartialObjectMetadata]
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	leaf := r.leaf.Load()
	if leaf == nil {
		return ctrl.Result{}, nil
	}
	pod := metadata("Pod")
	if err := r.client.Get(ctx, request.NamespacedName, pod); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if pod.Labels["app"] != "web" {
		return ctrl.Result{}, nil
	}
	existing := metadata("Secret")
	name := types.NamespacedName{Namespace: pod.Namespace, Name: secretPrefix + pod.Name}
	err := r.client.Get(ctx, name, existing)
	switch {
	case apierrors.IsNotFound(err):
		secret, err := leaf.secret(pod, name.Name)
		if err != nil {
			return ctrl.Result{}, err
		}
		if err := r.client.Create(ctx, secret); err != nil && !apierrors.IsAlreadyExists(err) {
			return ctrl.Result{}, err
		}
	case err != nil:
		return ctrl.Result{}, err
	case existing.Annotations[leafHash] != leaf.sha256:
		secret, err := leaf.secret(pod, name.Name)
		if err != nil {
			return ctrl.Result{}, err
		}
		secret.ResourceVersion = existing.ResourceVersion
		if err := r.client.Update(ctx, secret); err != nil {
			if apierrors.IsConflict(err) {
				return ctrl.Result{}, nil
			}
			return ctrl.Result{}, err
		}
		patch := fmt.Appendf(nil, `{"metadata":{"uid":%q,"annotations":{%q:%q}}}`, pod.UID, renewedAt, time.Now().UTC().Format(time.RFC3339Nano))
		if err := r.client.Patch(ctx, pod, client.RawPatch(types.MergePatchType, patch)); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
	}
	return ctrl.Result{RequeueAfter: lifetime / 2}, nil
}

func metadata(kind string) *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return object
}

// A new leaf voids every credential: every pod is reconciled.
func (r *reconciler) certificateChanged(ctx context.Context, secret *corev1.Secret) error {
	leaf, err := readLeaf(secret)
	if err != nil {
		return err
	}
	r.leaf.Store(leaf)
	pods := &metav1.PartialObjectMetadataList{}
	pods.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	if err := r.client.List(ctx, pods, client.InNamespace(r.namespace)); err != nil {
		return err
	}
	for index := range pods.Items {
		r.all <- event.TypedGenericEvent[*metav1.PartialObjectMetadata]{Object: &pods.Items[index]}
	}
	return nil
}

func (r *reconciler) watchCertificate(ctx context.Context, set kubernetes.Interface) {
	selector := fields.OneTermEqualSelector("metadata.name", certificate)
	list := toolscache.NewListWatchFromClient(set.CoreV1().RESTClient(), "secrets", r.namespace, selector)
	changed := func(object any) {
		if err := r.certificateChanged(ctx, object.(*corev1.Secret)); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	_, informer := toolscache.NewInformerWithOptions(toolscache.InformerOptions{
		ListerWatcher: list,
		ObjectType:    &corev1.Secret{},
		Handler: toolscache.ResourceEventHandlerFuncs{
			AddFunc:    changed,
			UpdateFunc: func(_, current any) { changed(current) },
		},
	})
	informer.Run(ctx.Done())
}

func run() error {
	kubeconfig := flag.String("kube", "", "kubeconfig")
	namespace := flag.String("n", "", "the namespace to serve")
	workers := flag.Int("workers", 32, "how many pods are reconciled at a time")
	flag.Parse()
	log.SetLogger(logr.Discard())
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1
	managed := labels.SelectorFromSet(labels.Set{managedBy: manager})
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{*namespace: {}},
			ByObject:          map[client.Object]cache.ByObject{metadata("Secret"): {Label: managed}},
		},
	})
	if err != nil {
		return err
	}
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	r := &reconciler{client: mgr.GetClient(), namespace: *namespace, all: make(chan event.TypedGenericEvent[*metav1.PartialObjectMetadata], 1024)}
	toPod := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, secret client.Object) []ctrl.Request {
		name := types.NamespacedName{Namespace: secret.GetNamespace(), Name: secret.GetAnnotations()[podName]}
		return []ctrl.Request{{NamespacedName: name}}
	})
	err = ctrl.NewControllerManagedBy(mgr).
		Named("pods").
		For(&corev1.Pod{}, builder.OnlyMetadata).
		Watches(&corev1.Secret{}, toPod, builder.OnlyMetadata).
		WatchesRawSource(source.Channel(r.all, &handler.TypedEnqueueRequestForObject[*metav1.PartialObjectMetadata]{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: *workers}).
		Complete(r)
	if err != nil {
		return err
	}
	ctx := ctrl.SetupSignalHandler()
	go func() {
		if mgr.GetCache().WaitForCacheSync(ctx) {
			fmt.Fprintln(os.Stderr, `"msg":"caches synced"`)
			r.watchCertificate(ctx, set)
		}
	}()
	return mgr.Start(ctx)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
