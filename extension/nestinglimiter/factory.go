package nestinglimiter

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"

	"github.com/asyncinspect/asyncinspect/extension/nestinglimiter/internal/metadata"
)

// NewFactory returns the factory of the nesting_limiter extension.
func NewFactory() extension.Factory {
	return extension.NewFactory(metadata.Type, createDefaultConfig, create, metadata.ExtensionStability)
}

func create(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
	return newLimiter(set, cfg.(*Config))
}
