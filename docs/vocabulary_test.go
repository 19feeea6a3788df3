package docs

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"strings"
	"testing"
)

// Every name that travels is explained on the protocol's page, as code.
func TestProtocolExplainsTheVocabulary(t *testing.T) {
	page := read(t, "protocol.md")
	names := vocabulary(t)
	if len(names) < 90 {
		t.Errorf("found only %d names in the vocabulary: this test does not look right", len(names))
	}
	for name, value := range names {
		code := "`" + value
		if !strings.HasSuffix(value, ":") && !strings.HasSuffix(value, " ") { // not a prefix
			code += "`"
		}
		if !strings.Contains(page, code) {
			t.Errorf("protocol.md does not mention %s, which is %q", name, value)
		}
	}
}

// vocabulary returns the string constants of package taskspan by name.
func vocabulary(t *testing.T) map[string]string {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range []string{"names.go", "values.go"} {
		file, err := parser.ParseFile(fset, "../sdk/taskspan/"+name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	// The package imports nothing, so no importer is needed.
	pkg, err := new(types.Config).Check("taskspan", fset, files, nil)
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]string)
	for _, name := range pkg.Scope().Names() {
		if c, ok := pkg.Scope().Lookup(name).(*types.Const); ok && c.Exported() && c.Val().Kind() == constant.String {
			values[name] = constant.StringVal(c.Val())
		}
	}
	return values
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
