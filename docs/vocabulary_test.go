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

// Every name that travels is explained on the protocol's page.
func TestProtocolExplainsTheVocabulary(t *testing.T) {
	page, err := os.ReadFile("protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	for _, file := range []string{"../sdk/taskspan/names.go", "../sdk/taskspan/values.go"} {
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
			names++
			if !strings.Contains(string(page), value) {
				t.Errorf("protocol.md does not mention %q (%s in %s)", value, spec.Names[0], file)
			}
			return true
		})
	}
	if names < 70 {
		t.Errorf("found only %d names in the vocabulary: the test does not look right", names)
	}
}
