// Package docs holds the documentation, and tests that keep it true.
package docs

//go:generate go run configuration_gen.go
