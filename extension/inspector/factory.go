package inspector

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"

	"github.com/asyncinspect/asyncinspect/extension/inspector/internal/metadata"
)

// NewFactory returns the factory of the inspector extension.
func NewFactory() extension.Factory {
	return extension.NewFactory(metadata.Type, createDefaultConfig, create, metadata.ExtensionStability)
}

func create(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
	return newInspector(set, cfg.(*Config))
}
