// Package k8s holds the manifests, and the tests that hold them against each other and
// against what the programs really do. `make test-k8s` runs them.
package k8s

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/pod-security-admission/api"
	admission "k8s.io/pod-security-admission/policy"

	"github.com/asyncinspect/asyncinspect/sdk/inspect"
)

const (
	tiers   = "."
	example = "example"
	monitor = "monitoring"
)

// A workload selects its own pods and nobody else's, its namespace is there, and it is
// made of an image that `make image` builds.
func TestWorkloads(t *testing.T) {
	for _, folder := range []string{tiers, example} {
		m := render(t, folder)
		for _, w := range m.workloads(t) {
			if got := m.selected(t, w.GetNamespace(), w.selector); len(got) != 1 || got[0].GetName() != w.GetName() {
				t.Errorf("%v selects %v", w, got)
			}
			if _, found := get[*core.Namespace](m, "", w.GetNamespace()); !found {
				t.Errorf("%v: there is no namespace %q", w, w.GetNamespace())
			}
			if image := w.container().Image; image != "otelcol-asyncinspect:dev" && image != "async-inspect-demo:dev" {
				t.Errorf("%v: nobody builds %s", w, image)
			}
		}
		for _, s := range all[*apps.StatefulSet](m) {
			service, found := get[*core.Service](m, s.Namespace, s.Spec.ServiceName)
			if !found || service.Spec.ClusterIP != core.ClusterIPNone {
				t.Errorf("StatefulSet %s: there is no headless service %q", s.Name, s.Spec.ServiceName)
			}
		}
		for _, b := range all[*policy.PodDisruptionBudget](m) {
			if got := m.selected(t, b.Namespace, b.Spec.Selector); len(got) != 1 {
				t.Errorf("PodDisruptionBudget %s selects %v", b.Name, got)
			}
			if most := b.Spec.MaxUnavailable; most == nil || most.IntValue() < 1 {
				t.Errorf("PodDisruptionBudget %s: a node could never be drained", b.Name)
			}
		}
	}
}

// No pod has a privilege, can write to its files, or talks to the API of the cluster;
// their namespaces forbid more than that.
func TestPodsAreRestricted(t *testing.T) {
	evaluator, err := admission.NewEvaluator(admission.DefaultChecks())
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{tiers, example} {
		m := render(t, folder)
		for _, n := range all[*core.Namespace](m) {
			if got := n.Labels[api.EnforceLevelLabel]; got != string(api.LevelRestricted) {
				t.Errorf("namespace %s enforces %q", n.Name, got)
			}
		}
		for _, w := range m.workloads(t) {
			restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
			if result := admission.AggregateCheckResults(evaluator.EvaluatePod(restricted, &w.pod.ObjectMeta, &w.pod.Spec)); !result.Allowed {
				t.Errorf("%v: %s", w, result.ForbiddenDetail())
			}
			if s := w.container().SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
				t.Errorf("%v can write to its files", w)
			}
			if token := w.pod.Spec.AutomountServiceAccountToken; token == nil || *token {
				t.Errorf("%v has a token for the API of the cluster", w)
			}
		}
	}
}

// The configuration of each tier, with the arguments and the environment of its
// manifest, is one that the distribution takes, and each variable is one that it reads.
func TestConfigurations(t *testing.T) {
	for _, c := range render(t, tiers).collectors(t) {
		if out, err := c.command(t, []string{"validate"}, nil).CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", c.workload, err, out)
		}
		before := c.print(t, nil)
		for name, value := range c.environment {
			other := "other-" + value
			if n, err := strconv.Atoi(value); err == nil {
				other = strconv.Itoa(n + 1)
			} else if b, err := strconv.ParseBool(value); err == nil {
				other = strconv.FormatBool(!b)
			}
			if c.print(t, map[string]string{name: other}) == before {
				t.Errorf("%v: the collector does not read %s", c.workload, name)
			}
		}
	}
}

// A port of a container is what its name says and the collector listens there for all,
// and what the collector listens on for others is a port of the container.
func TestPortsAreWhereCollectorsListen(t *testing.T) {
	for _, c := range render(t, tiers).collectors(t) {
		listens, err := c.effective(t).listens()
		if err != nil {
			t.Errorf("%v: %v", c.workload, err)
		}
		ports := make(map[string]int32)
		for _, p := range c.container().Ports {
			ports[p.Name] = p.ContainerPort
		}
		if !maps.Equal(ports, listens) {
			t.Errorf("%v has the ports %v, and listens on %v", c.workload, ports, listens)
		}
	}
}

// Services and network policies lead to ports of the pods that they select.
func TestServicesAndPoliciesLeadToPorts(t *testing.T) {
	m := render(t, tiers)
	for _, s := range all[*core.Service](m) {
		w := m.behind(t, s)
		for _, p := range s.Spec.Ports {
			port, err := w.port(p.TargetPort.StrVal)
			if err != nil {
				t.Errorf("service %s: %v", s.Name, err)
			}
			// A headless service has no ports of its own, so they may not differ.
			if p.Port != port {
				t.Errorf("service %s: port %d leads to %d", s.Name, p.Port, port)
			}
		}
	}
	closed := make(map[string]bool) // workloads that a policy without a rule selects
	for _, n := range all[*networking.NetworkPolicy](m) {
		selected := m.selected(t, n.Namespace, &n.Spec.PodSelector)
		if len(selected) == 0 {
			t.Errorf("network policy %s selects nobody", n.Name)
		}
		if !slices.Equal(n.Spec.PolicyTypes, []networking.PolicyType{networking.PolicyTypeIngress}) {
			t.Errorf("network policy %s: types %v", n.Name, n.Spec.PolicyTypes)
		}
		for _, rule := range n.Spec.Ingress {
			if len(rule.From) == 0 || len(rule.Ports) == 0 {
				t.Errorf("network policy %s has a rule for everybody or for all ports", n.Name)
			}
			for _, p := range rule.Ports {
				for _, w := range selected {
					if _, err := w.port(p.Port.StrVal); err != nil {
						t.Errorf("network policy %s: %v", n.Name, err)
					}
				}
			}
		}
		for _, w := range selected {
			closed[w.String()] = closed[w.String()] || len(n.Spec.Ingress) == 0
		}
	}
	for _, w := range m.workloads(t) {
		if !closed[w.String()] {
			t.Errorf("%v: everybody reaches all of its ports", w)
		}
	}
}

// reaches says whether a network policy lets pods of a workload to a port of another.
func (m manifests) reaches(t *testing.T, from, to workload, port string) bool {
	t.Helper()
	for _, n := range all[*networking.NetworkPolicy](m) {
		if !slices.ContainsFunc(m.selected(t, n.Namespace, &n.Spec.PodSelector), func(w workload) bool { return w.GetName() == to.GetName() }) {
			continue
		}
		for _, rule := range n.Spec.Ingress {
			open := slices.ContainsFunc(rule.Ports, func(p networking.NetworkPolicyPort) bool { return *p.Port == intstr.FromString(port) })
			for _, peer := range rule.From {
				if open && matches(t, peer, n.Namespace, from) {
					return true
				}
			}
		}
	}
	return false
}

// matches says whether a peer of a policy in a namespace is a workload.
func matches(t *testing.T, peer networking.NetworkPolicyPeer, namespace string, w workload) bool {
	t.Helper()
	if peer.NamespaceSelector == nil {
		return w.GetNamespace() == namespace && selects(t, peer.PodSelector, w.pod.Labels)
	}
	// A namespace has this label by itself.
	return selects(t, peer.NamespaceSelector, map[string]string{core.LabelMetadataName: w.GetNamespace()}) &&
		(peer.PodSelector == nil || selects(t, peer.PodSelector, w.pod.Labels))
}

func selects(t *testing.T, selector *meta.LabelSelector, set map[string]string) bool {
	t.Helper()
	s, err := meta.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(labels.Set(set))
}

// Agents find gateways and detectors by the names of their headless services, and
// nothing keeps them from getting there.
func TestAgentsFindTheOtherTiers(t *testing.T) {
	m := render(t, tiers)
	agent := m.collectors(t)["agent"]
	exporters := agent.effective(t).Exporters
	if len(exporters) != 2 {
		t.Fatalf("the agent has the exporters %v", exporters)
	}
	for name, e := range exporters {
		if e.Resolver.DNS == nil || e.Resolver.Static != nil {
			t.Errorf("%s does not ask DNS: %+v", name, e.Resolver)
			continue
		}
		service, found := get[*core.Service](m, agent.GetNamespace(), e.Resolver.DNS.Hostname)
		if !found || service.Spec.ClusterIP != core.ClusterIPNone {
			t.Errorf("%s: there is no headless service %s", name, e.Resolver.DNS.Hostname)
			continue
		}
		// load_balancing/gateways and async-inspect-gateway.
		if tier := strings.TrimSuffix(strings.TrimPrefix(name, "load_balancing/"), "s"); !strings.HasSuffix(service.Name, "-"+tier) {
			t.Errorf("%s sends to %s", name, service.Name)
		}
		target := m.behind(t, service)
		if port, err := target.port("otlp-grpc"); err != nil || fmt.Sprint(port) != e.Resolver.DNS.Port {
			t.Errorf("%s: port %s, and %v listens on %d (%v)", name, e.Resolver.DNS.Port, target, port, err)
		}
		if !m.reaches(t, agent.workload, target, "otlp-grpc") {
			t.Errorf("no network policy lets %v to %v", agent.workload, target)
		}
		if m.reaches(t, target, agent.workload, "inspector") {
			t.Errorf("a network policy lets %v read what %v knows", target, agent.workload)
		}
	}
}

// Started as the manifest says, each tier answers its probes with 200, on the port that
// they ask.
func TestProbesAreAnswered(t *testing.T) {
	for tier, c := range render(t, tiers).collectors(t) {
		t.Run(tier, func(t *testing.T) {
			t.Parallel()
			// The ports are those of the manifest, the address is one that nobody else has.
			address := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250))
			log := new(strings.Builder)
			cmd := c.command(t, nil, map[string]string{"ASYNC_INSPECT_LISTEN": address})
			cmd.Stdout, cmd.Stderr = log, log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				if t.Failed() {
					t.Log(log)
				}
			})
			for name, probe := range map[string]*core.Probe{"liveness": c.container().LivenessProbe, "readiness": c.container().ReadinessProbe} {
				if probe == nil || probe.HTTPGet == nil {
					t.Errorf("there is no %s probe", name)
					continue
				}
				port, err := c.port(probe.HTTPGet.Port.StrVal)
				if err != nil {
					t.Error(err)
					continue
				}
				asked := fmt.Sprintf("http://%s:%d%s", address, port, probe.HTTPGet.Path)
				eventually(t, name+" at "+asked, func() error {
					response, err := http.Get(asked)
					if err != nil {
						return err
					}
					response.Body.Close()
					if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/json" {
						return fmt.Errorf("%s, %s", response.Status, response.Header.Get("Content-Type"))
					}
					return nil
				})
			}
			for _, p := range c.container().Ports {
				eventually(t, "it listens on "+p.Name, func() error {
					conn, err := net.Dial("tcp", net.JoinHostPort(address, fmt.Sprint(p.ContainerPort)))
					if err == nil {
						conn.Close()
					}
					return err
				})
			}
		})
	}
}

// What memory_limiter allows fits into the container, and a share of the memory is one
// of the container and not of the node.
func TestMemoryFits(t *testing.T) {
	for _, c := range render(t, tiers).collectors(t) {
		limit := c.container().Resources.Limits.Memory().Value()
		if limit == 0 {
			t.Errorf("%v has no limit on memory", c.workload)
			continue
		}
		processors := c.effective(t).Processors
		limiter, found := processors["memory_limiter"]
		if !found {
			t.Errorf("%v has no memory_limiter", c.workload)
		}
		heap := max(limiter.LimitMiB<<20, int64(limiter.LimitPercentage/100*float64(limit)))
		if heap == 0 || heap > limit*8/10 {
			t.Errorf("%v: memory_limiter allows %d MiB of %d", c.workload, heap>>20, limit>>20)
		}
		if sampler := processors["adaptive_sampler"].Memory.LimitPercentage; sampler >= limiter.LimitPercentage && sampler > 0 {
			t.Errorf("%v: the sampler may hold %v %%, memory_limiter refuses at %v %%", c.workload, sampler, limiter.LimitPercentage)
		}
		if request := c.container().Resources.Requests.Memory().Value(); request == 0 || request > limit {
			t.Errorf("%v asks for %d bytes of %d", c.workload, request, limit)
		}
	}
}

// The ServiceMonitor finds every service and its ports, Prometheus gets there, and the
// label `service` stays that of our metrics.
func TestServiceMonitor(t *testing.T) {
	m := render(t, tiers)
	monitors := all[*monitoring.ServiceMonitor](render(t, monitor))
	if len(monitors) != 1 {
		t.Fatalf("there are %d ServiceMonitors", len(monitors))
	}
	prometheus := workload{Object: &apps.StatefulSet{ObjectMeta: meta.ObjectMeta{Namespace: "monitoring", Name: "prometheus"}}}
	for _, s := range all[*core.Service](m) {
		if s.Namespace != monitors[0].Namespace || !selects(t, &monitors[0].Spec.Selector, s.Labels) {
			t.Errorf("service %s is not scraped", s.Name)
		}
		for _, e := range monitors[0].Spec.Endpoints {
			if !slices.ContainsFunc(s.Spec.Ports, func(p core.ServicePort) bool { return p.Name == e.Port }) {
				t.Errorf("service %s has no port %q", s.Name, e.Port)
			}
			if !m.reaches(t, prometheus, m.behind(t, s), e.Port) {
				t.Errorf("no network policy lets %v to %s of service %s", prometheus, e.Port, s.Name)
			}
			if e.Port == "inspector" != e.HonorLabels {
				t.Errorf("port %s: honorLabels is %v", e.Port, e.HonorLabels)
			}
		}
	}
	if len(monitors[0].Spec.Endpoints) != 2 {
		t.Errorf("endpoints: %v", monitors[0].Spec.Endpoints)
	}
}

// The example sends to the port on which agents take OTLP/gRPC, and every ASYNC_INSPECT_*
// variable that it sets is one that the SDK reads, with a value that it takes.
func TestTheExampleIsConfigured(t *testing.T) {
	m, app := render(t, tiers), render(t, example)
	shop := app.workloads(t)[0]
	environment := app.environment(t, shop)

	const variable = "ASYNC_INSPECT_OTLP_ENDPOINT"
	endpoint, err := url.Parse(environment[variable])
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^([^.]+)\.([^.]+)\.svc$`).FindStringSubmatch(endpoint.Hostname())
	if name == nil || endpoint.Scheme != "http" {
		t.Fatalf("%s is %q", variable, endpoint)
	}
	service, found := get[*core.Service](m, name[2], name[1])
	if !found {
		t.Fatalf("%s: there is no service %s in %s", variable, name[1], name[2])
	}
	if !slices.ContainsFunc(service.Spec.Ports, func(p core.ServicePort) bool { return fmt.Sprint(p.Port) == endpoint.Port() && p.Name == "otlp-grpc" }) {
		t.Errorf("%s: service %s does not take OTLP/gRPC on %s", variable, service.Name, endpoint.Port())
	}
	agent := m.behind(t, service)
	if !m.reaches(t, shop, agent, "otlp-grpc") {
		t.Errorf("no network policy lets %v to %v", shop, agent)
	}
	if m.reaches(t, shop, agent, "inspector") {
		t.Errorf("a network policy lets %v read what %v knows", shop, agent)
	}

	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") || strings.HasPrefix(name, "ASYNC_INSPECT_") {
			t.Setenv(name, "")
		}
	}
	for name, value := range environment {
		t.Setenv(name, value)
	}
	start := func() error {
		ins, err := inspect.Start(t.Context(), inspect.WithServiceName("shop"))
		if err == nil {
			over, cancel := context.WithCancel(t.Context())
			cancel() // there is nobody to say goodbye to
			_ = ins.Shutdown(over)
		}
		return err
	}
	if err := start(); err != nil {
		t.Error(err)
	}
	read := 0
	for name, value := range environment {
		if !strings.HasPrefix(name, "ASYNC_INSPECT_") {
			continue
		}
		read++
		t.Setenv(name, "?")
		if err := start(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("the SDK does not read %s (%v)", name, err)
		}
		t.Setenv(name, value)
	}
	if read == 0 {
		t.Error("the example sets no ASYNC_INSPECT_* variable")
	}
}

// eventually polls until check succeeds. The bound is for a machine that is stuck.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
