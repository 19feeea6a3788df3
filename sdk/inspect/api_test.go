package inspect_test

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/printer"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A program that compiles with the SDK compiles with the noinspect tag, too.
func TestNoinspectHasTheSameAPI(t *testing.T) {
	with, without := exported(t), exported(t, "noinspect")
	if len(with) < 100 {
		t.Errorf("found only %d exported declarations: the test does not look right", len(with))
	}
	for _, d := range slices.Sorted(maps.Keys(with)) {
		if !without[d] {
			t.Errorf("missing with noinspect:\n\t%s", d)
		}
	}
	for _, d := range slices.Sorted(maps.Keys(without)) {
		if !with[d] {
			t.Errorf("only with noinspect:\n\t%s", d)
		}
	}
}

// exported returns the exported declarations of this package as it is built with
// the tags: functions and methods with their signatures, and the names of types,
// constants, variables and exported fields.
func exported(t *testing.T, tags ...string) map[string]bool {
	t.Helper()
	context := build.Default
	context.BuildTags = tags
	pkg, err := context.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	files := token.NewFileSet()
	for _, name := range pkg.GoFiles {
		file, err := parser.ParseFile(files, filepath.Join(pkg.Dir, name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if text, ok := signature(t, d); ok {
					found[text] = true
				}
			case *ast.GenDecl:
				for _, name := range names(d) {
					found[d.Tok.String()+" "+name] = true
				}
			}
		}
	}
	return found
}

func signature(t *testing.T, f *ast.FuncDecl) (string, bool) {
	t.Helper()
	if !f.Name.IsExported() {
		return "", false
	}
	var b strings.Builder
	b.WriteString("func ")
	if f.Recv != nil {
		receiver := typeText(t, f.Recv.List[0].Type)
		base := strings.TrimLeft(receiver, "*")
		if !ast.IsExported(base[:1]) {
			return "", false
		}
		b.WriteString("(" + receiver + ") ")
	}
	b.WriteString(f.Name.Name)
	// Names of parameters do not matter, their types do.
	for _, list := range []*ast.FieldList{f.Type.Params, f.Type.Results} {
		b.WriteString(" (")
		if list != nil {
			for _, field := range list.List {
				for range max(1, len(field.Names)) {
					b.WriteString(typeText(t, field.Type) + ",")
				}
			}
		}
		b.WriteString(")")
	}
	return b.String(), true
}

func typeText(t *testing.T, e ast.Expr) string {
	t.Helper()
	var b strings.Builder
	if err := printer.Fprint(&b, token.NewFileSet(), e); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func names(d *ast.GenDecl) []string {
	var all []string
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if !s.Name.IsExported() {
				continue
			}
			all = append(all, s.Name.Name)
			if fields, ok := s.Type.(*ast.StructType); ok {
				for _, f := range fields.Fields.List {
					for _, n := range f.Names {
						if n.IsExported() {
							all = append(all, s.Name.Name+"."+n.Name)
						}
					}
				}
			}
		case *ast.ValueSpec:
			for _, n := range s.Names {
				if n.IsExported() {
					all = append(all, n.Name)
				}
			}
		}
	}
	return all
}
