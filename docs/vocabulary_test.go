// Package docs holds the documentation, and tests that keep it true.
package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Every name that travels is explained on the protocol's page, as code.
func TestProtocolExplainsTheVocabulary(t *testing.T) {
	page, err := os.ReadFile("protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	names := vocabulary(t, "../sdk/taskspan/names.go", "../sdk/taskspan/values.go")
	if len(names) < 90 {
		t.Errorf("found only %d names in the vocabulary: this test does not look right", len(names))
	}
	for name, value := range names {
		// Prefixes stand before what follows them.
		code := "`" + value
		if !strings.HasSuffix(value, ":") && !strings.HasSuffix(value, " ") {
			code += "`"
		}
		if !strings.Contains(string(page), code) && !strings.Contains(string(page), "**"+value+"**") {
			t.Errorf("protocol.md does not mention %s, which is %q", name, value)
		}
	}
}

// vocabulary returns the string constants of some files.
func vocabulary(t *testing.T, files ...string) map[string]string {
	t.Helper()
	values := make(map[string]string)
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			literal, ok := spec.Values[0].(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			values[spec.Names[0].Name] = value
			return true
		})
	}
	return values
}
