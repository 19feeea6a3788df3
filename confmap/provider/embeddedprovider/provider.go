// Package embeddedprovider is a confmap provider for the configurations that are
// compiled into the distribution: `embedded:default` is
// distribution/config/default.yaml.
package embeddedprovider

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"go.opentelemetry.io/collector/confmap"

	"github.com/asyncinspect/asyncinspect/distribution/config"
)

const schemeName = "embedded"

type provider struct{ files fs.FS }

// NewFactory returns the factory of the provider.
func NewFactory() confmap.ProviderFactory {
	return confmap.NewProviderFactory(func(confmap.ProviderSettings) confmap.Provider {
		return provider{files: config.Files}
	})
}

// Retrieve returns the configuration that the URI names. It never changes, so
// there is nothing to watch.
func (p provider) Retrieve(_ context.Context, uri string, _ confmap.WatcherFunc) (*confmap.Retrieved, error) {
	name, ok := strings.CutPrefix(uri, schemeName+":")
	if !ok {
		return nil, fmt.Errorf("%q is not supported by the %q provider", uri, schemeName)
	}
	known, err := p.names()
	if err != nil {
		return nil, err
	}
	for _, k := range known {
		if k != name {
			continue
		}
		yaml, err := fs.ReadFile(p.files, name+".yaml")
		if err != nil {
			return nil, fmt.Errorf("read the embedded configuration %q: %w", name, err)
		}
		return confmap.NewRetrievedFromYAML(yaml)
	}
	return nil, fmt.Errorf("no embedded configuration %q; there are: %s", name, strings.Join(known, ", "))
}

func (p provider) names() ([]string, error) {
	files, err := fs.Glob(p.files, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list the embedded configurations: %w", err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(f, ".yaml")
	}
	return files, nil
}

func (provider) Scheme() string { return schemeName }

func (provider) Shutdown(context.Context) error { return nil }
