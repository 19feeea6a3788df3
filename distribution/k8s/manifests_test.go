package k8s

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// kinds are those that may be here, and how a cluster reads them.
var kinds = map[string]func() meta.Object{
	"v1/Namespace":                            func() meta.Object { return new(core.Namespace) },
	"v1/ConfigMap":                            func() meta.Object { return new(core.ConfigMap) },
	"v1/Service":                              func() meta.Object { return new(core.Service) },
	"apps/v1/DaemonSet":                       func() meta.Object { return new(apps.DaemonSet) },
	"apps/v1/StatefulSet":                     func() meta.Object { return new(apps.StatefulSet) },
	"apps/v1/Deployment":                      func() meta.Object { return new(apps.Deployment) },
	"policy/v1/PodDisruptionBudget":           func() meta.Object { return new(policy.PodDisruptionBudget) },
	"networking.k8s.io/v1/NetworkPolicy":      func() meta.Object { return new(networking.NetworkPolicy) },
	"monitoring.coreos.com/v1/ServiceMonitor": func() meta.Object { return new(monitoring.ServiceMonitor) },
}

// manifests are the objects of a folder.
type manifests []meta.Object

// render does what `kubectl kustomize` does, and reads every document strictly: a field
// that its kind does not have is an error.
func render(t *testing.T, folder string) (objects manifests) {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, resource := range rendered.Resources() {
		document, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		create, known := kinds[resource.GetApiVersion()+"/"+resource.GetKind()]
		if !known {
			t.Errorf("%s: nobody checks a %s/%s", folder, resource.GetApiVersion(), resource.GetKind())
			continue
		}
		object := create()
		if err := yaml.UnmarshalStrict(document, object); err != nil {
			t.Errorf("%s: %s %s: %v", folder, resource.GetKind(), resource.GetName(), err)
		}
		objects = append(objects, object)
	}
	return objects
}

// all returns the objects of a kind.
func all[T meta.Object](m manifests) (found []T) {
	for _, o := range m {
		if object, ok := o.(T); ok {
			found = append(found, object)
		}
	}
	return found
}

// get returns the object of a kind with a name, or nothing.
func get[T meta.Object](m manifests, namespace, name string) (found T, ok bool) {
	for _, object := range all[T](m) {
		if object.GetNamespace() == namespace && object.GetName() == name {
			return object, true
		}
	}
	return found, false
}

// workload is what DaemonSets, StatefulSets and Deployments have in common.
type workload struct {
	meta.Object
	selector *meta.LabelSelector
	pod      core.PodTemplateSpec
}

func (w workload) String() string {
	return strings.TrimPrefix(reflect.TypeOf(w.Object).String(), "*v1.") + " " + w.GetName()
}

func (w workload) container() *core.Container { return &w.pod.Spec.Containers[0] }

// port returns the number of a port of the container.
func (w workload) port(name string) (int32, error) {
	for _, p := range w.container().Ports {
		if p.Name == name {
			return p.ContainerPort, nil
		}
	}
	return 0, fmt.Errorf("%v has no port %q", w, name)
}

// workloads returns all of them. Each has one container, which the tests rely on.
func (m manifests) workloads(t *testing.T) (found []workload) {
	t.Helper()
	for _, d := range all[*apps.DaemonSet](m) {
		found = append(found, workload{d, d.Spec.Selector, d.Spec.Template})
	}
	for _, s := range all[*apps.StatefulSet](m) {
		found = append(found, workload{s, s.Spec.Selector, s.Spec.Template})
	}
	for _, d := range all[*apps.Deployment](m) {
		found = append(found, workload{d, d.Spec.Selector, d.Spec.Template})
	}
	for _, w := range found {
		if len(w.pod.Spec.Containers) != 1 || len(w.pod.Spec.InitContainers) != 0 {
			t.Fatalf("%v: %d containers", w, len(w.pod.Spec.Containers))
		}
	}
	return found
}

// selected returns the workloads of a namespace whose pods a selector selects.
func (m manifests) selected(t *testing.T, namespace string, selector *meta.LabelSelector) (found []workload) {
	t.Helper()
	for _, w := range m.workloads(t) {
		if w.GetNamespace() == namespace && selects(t, selector, w.pod.Labels) {
			found = append(found, w)
		}
	}
	return found
}

// behind returns the workload that a service leads to.
func (m manifests) behind(t *testing.T, s *core.Service) workload {
	t.Helper()
	selected := m.selected(t, s.Namespace, &meta.LabelSelector{MatchLabels: s.Spec.Selector})
	if len(selected) != 1 {
		t.Fatalf("service %s selects %v", s.Name, selected)
	}
	return selected[0]
}

// environment returns what the container of a workload gets, with the ConfigMaps read.
// What only a cluster knows, such as the name of a pod, is left out.
func (m manifests) environment(t *testing.T, w workload) map[string]string {
	t.Helper()
	environment := make(map[string]string)
	for _, from := range w.container().EnvFrom {
		c, found := get[*core.ConfigMap](m, w.GetNamespace(), from.ConfigMapRef.Name)
		if !found {
			t.Fatalf("%v: there is no ConfigMap %s", w, from.ConfigMapRef.Name)
		}
		for name, value := range c.Data {
			environment[name] = value
		}
	}
	for _, e := range w.container().Env {
		if e.ValueFrom == nil {
			environment[e.Name] = e.Value
		}
	}
	return environment
}
