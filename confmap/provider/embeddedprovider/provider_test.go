package embeddedprovider

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/confmaptest"
)

func TestSchemeIsValid(t *testing.T) {
	p := NewFactory().Create(confmap.ProviderSettings{})
	require.NoError(t, confmaptest.ValidateProviderScheme(p))
	require.NoError(t, p.Shutdown(context.Background()))
}

func TestDefaultIsThere(t *testing.T) {
	p := NewFactory().Create(confmap.ProviderSettings{})
	got, err := p.Retrieve(context.Background(), "embedded:default", nil)
	require.NoError(t, err)
	conf, err := got.AsConf()
	require.NoError(t, err)
	assert.True(t, conf.IsSet("service::pipelines::traces"))
}

func TestUnknownNameListsTheKnown(t *testing.T) {
	p := NewFactory().Create(confmap.ProviderSettings{})
	for _, uri := range []string{"embedded:nope", "embedded:", "embedded:../default", "embedded:default.yaml"} {
		_, err := p.Retrieve(context.Background(), uri, nil)
		assert.ErrorContains(t, err, "there are: agent, default, ", uri)
	}
}

func TestOtherSchemesAreRefused(t *testing.T) {
	p := NewFactory().Create(confmap.ProviderSettings{})
	_, err := p.Retrieve(context.Background(), "file:default.yaml", nil)
	assert.ErrorContains(t, err, `"embedded" provider`)
}
