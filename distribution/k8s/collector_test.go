package k8s

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
)

// collector is the distribution as a workload starts it.
type collector struct {
	workload
	arguments   []string
	environment map[string]string
}

// collectors returns that of each tier, with what ConfigMaps mount in files that the
// arguments name.
func (m manifests) collectors(t *testing.T) map[string]collector {
	t.Helper()
	found := make(map[string]collector)
	for _, w := range m.workloads(t) {
		arguments := slices.Clone(w.container().Args)
		for _, mount := range w.container().VolumeMounts {
			directory := m.files(t, w, mount.Name)
			for i, a := range arguments {
				arguments[i] = strings.Replace(a, mount.MountPath+"/", directory+"/", 1)
			}
		}
		found[w.container().Name] = collector{workload: w, arguments: arguments, environment: m.environment(t, w)}
	}
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, []string{"agent", "detector", "gateway"}) {
		t.Fatalf("there are the collectors %q", got)
	}
	return found
}

// files writes the ConfigMap of a volume to a directory.
func (m manifests) files(t *testing.T, w workload, volume string) (directory string) {
	t.Helper()
	i := slices.IndexFunc(w.pod.Spec.Volumes, func(v core.Volume) bool { return v.Name == volume })
	if i < 0 || w.pod.Spec.Volumes[i].ConfigMap == nil {
		t.Fatalf("%v: there is no volume %s of a ConfigMap", w, volume)
	}
	c, found := get[*core.ConfigMap](m, w.GetNamespace(), w.pod.Spec.Volumes[i].ConfigMap.Name)
	if !found {
		t.Fatalf("%v: there is no ConfigMap %s", w, w.pod.Spec.Volumes[i].ConfigMap.Name)
	}
	directory = t.TempDir()
	for name, text := range c.Data {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

// command prepares the program, with nothing in its environment but what the manifest
// says, and changes.
func (c collector) command(t *testing.T, subcommand []string, changes map[string]string) *exec.Cmd {
	t.Helper()
	program := os.Getenv("ASYNCINSPECT_COLLECTOR")
	if program == "" {
		t.Fatal("ASYNCINSPECT_COLLECTOR is not set: run this test with `make test-k8s`")
	}
	cmd := exec.Command(program, append(subcommand, c.arguments...)...)
	cmd.Env = []string{}
	environment := maps.Clone(c.environment)
	maps.Copy(environment, changes)
	for name, value := range environment {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// effective is the part of a merged configuration that has to fit the manifests.
type effective struct {
	Receivers struct {
		OTLP struct {
			Protocols struct{ GRPC, HTTP *struct{ Endpoint string } }
		}
	}
	Processors map[string]struct {
		LimitMiB        int64   `json:"limit_mib"`
		LimitPercentage float64 `json:"limit_percentage"`
		Memory          struct {
			LimitPercentage float64 `json:"limit_percentage"`
		}
	}
	Extensions map[string]struct{ Endpoint string }
	Exporters  map[string]struct {
		Resolver struct {
			Static *struct{ Hostnames []string }
			DNS    *struct{ Hostname, Port string }
		}
	}
	Service struct {
		Telemetry struct {
			Metrics struct {
				Readers []struct {
					Pull struct {
						Exporter struct {
							Prometheus struct {
								Host string
								Port int32
							}
						}
					}
				}
			}
		}
	}
}

// print returns the merged configuration as the program prints it.
func (c collector) print(t *testing.T, changes map[string]string) string {
	t.Helper()
	out, err := c.command(t, []string{"print-config", "--format=json", "--validate=false"}, changes).Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", c.workload, err, said(err))
	}
	return string(out)
}

func (c collector) effective(t *testing.T) (e effective) {
	t.Helper()
	if err := json.Unmarshal([]byte(c.print(t, nil)), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// listens returns the ports on which it listens for others, under the names that ports
// of a container have here.
func (e effective) listens() (map[string]int32, error) {
	addresses := make(map[string]string)
	if p := e.Receivers.OTLP.Protocols.GRPC; p != nil {
		addresses["otlp-grpc"] = p.Endpoint
	}
	if p := e.Receivers.OTLP.Protocols.HTTP; p != nil {
		addresses["otlp-http"] = p.Endpoint
	}
	addresses["inspector"] = e.Extensions["inspector"].Endpoint
	for _, r := range e.Service.Telemetry.Metrics.Readers {
		prometheus := r.Pull.Exporter.Prometheus
		addresses["metrics"] = net.JoinHostPort(prometheus.Host, fmt.Sprint(prometheus.Port))
	}
	ports := make(map[string]int32)
	for name, address := range addresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if host != "0.0.0.0" {
			return nil, fmt.Errorf("%s listens on %s, which nobody reaches", name, address)
		}
		n, err := strconv.ParseInt(port, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		ports[name] = int32(n)
	}
	return ports, nil
}

func said(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return ""
}
