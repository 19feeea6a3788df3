package goker

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/ast/astutil"
)

// A Form says what becomes of a kernel.
type Form string

const (
	// Unchanged leaves all as it is, for the runtime's own leak profile.
	Unchanged Form = "unchanged"
	// Peer takes the locks of go-deadlock.
	Peer Form = "go-deadlock"
	// Locks replaces sync.Mutex and sync.RWMutex: the change of a service that converts
	// its locks and nothing else.
	Locks Form = "locks"
	// Everything replaces all of package sync that blocks, and does every operation on a
	// channel through the SDK.
	Everything Form = "everything"
)

// replacement says which types of package sync a form replaces, and by whose.
type replacement struct {
	types []string
	path  string
}

const sdkPath = "github.com/asyncinspect/asyncinspect/sdk/inspect"

var replacements = map[Form]replacement{
	Peer:       {[]string{"Mutex", "RWMutex"}, "github.com/sasha-s/go-deadlock"},
	Locks:      {[]string{"Mutex", "RWMutex"}, sdkPath},
	Everything: {[]string{"Mutex", "RWMutex", "WaitGroup", "Cond", "Once"}, sdkPath},
}

// name is that of the package in the code.
func (r replacement) name() string {
	if r.path == sdkPath {
		return "inspect"
	}
	return "deadlock"
}

// convert reads the kernels of a folder and returns them by file name, converted.
// Each of the edits is made before that; see fixed.
func convert(folder string, to Form, edits []edit) (map[string][]byte, error) {
	files, sources, err := kernelFiles(folder, edits)
	if err != nil {
		return nil, err
	}
	var (
		fset   = token.NewFileSet()
		parsed []*ast.File
	)
	for _, name := range files {
		file, err := parser.ParseFile(fset, name, sources[name], parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", name, err)
		}
		parsed = append(parsed, file)
	}
	info := &types.Info{Types: make(map[ast.Expr]types.TypeAndValue), Uses: make(map[*ast.Ident]types.Object)}
	// What edits may call; package kernels has it.
	harness, err := parser.ParseFile(fset, "harness.go", "package main\n"+
		"func sends[T any](chan T) (closeEnd func()) { return nil }\n"+
		"func receives[T any](chan T) (closeEnd func()) { return nil }\n", 0)
	if err != nil {
		return nil, err
	}
	check := types.Config{Importer: importer.ForCompiler(fset, "source", nil)}
	if _, err := check.Check("main", fset, append(slices.Clone(parsed), harness), info); err != nil {
		return nil, fmt.Errorf("check the kernels: %w", err)
	}
	converted := make(map[string][]byte, len(files))
	for i, file := range parsed {
		c := converter{fset: fset, info: info, form: to}
		c.convert(file)
		var text strings.Builder
		if err := format.Node(&text, fset, file); err != nil {
			return nil, fmt.Errorf("print %s: %w", files[i], err)
		}
		converted[files[i]] = []byte(text.String())
	}
	// Its main function is ours.
	delete(converted, "main.go")
	return converted, nil
}

// kernelFiles reads a folder's Go files, with the edits made.
func kernelFiles(folder string, edits []edit) (names []string, sources map[string]string, err error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, nil, err
	}
	sources = make(map[string]string, len(paths))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		sources[filepath.Base(path)] = string(text)
	}
	for _, e := range edits {
		text, err := e.apply(sources[e.file])
		if err != nil {
			return nil, nil, fmt.Errorf("edit %s: %w", e.file, err)
		}
		sources[e.file] = text
	}
	return slices.Sorted(maps.Keys(sources)), sources, nil
}

// converter rewrites one file.
type converter struct {
	fset   *token.FileSet
	info   *types.Info
	form   Form
	cases  int  // variables made for select statements
	usesIt bool // the file needs the package that replaces sync
}

func (c *converter) convert(file *ast.File) {
	astutil.Apply(file, nil, func(at *astutil.Cursor) bool {
		switch n := at.Node().(type) {
		case *ast.SelectorExpr:
			c.selector(n)
		case *ast.CallExpr:
			c.newCond(n)
		}
		return true
	})
	if c.form == Everything {
		astutil.Apply(file, nil, c.channel)
	}
	// The profile of a kernel is its report; see package kernels.
	astutil.DeleteImport(c.fset, file, "runtime/pprof")
	if c.usesIt {
		astutil.AddImport(c.fset, file, replacements[c.form].path)
	}
	if !astutil.UsesImport(file, "sync") {
		astutil.DeleteImport(c.fset, file, "sync")
	}
}

// selector replaces a type of package sync.
func (c *converter) selector(n *ast.SelectorExpr) {
	pkg, ok := n.X.(*ast.Ident)
	by := replacements[c.form]
	if !ok || !c.isPackage(pkg, "sync") || !slices.Contains(by.types, n.Sel.Name) {
		return
	}
	n.X = ast.NewIdent(by.name())
	c.usesIt = true
}

// newCond replaces sync.NewCond, which takes a name in the SDK.
func (c *converter) newCond(n *ast.CallExpr) {
	fun, ok := n.Fun.(*ast.SelectorExpr)
	if !ok || c.form != Everything || fun.Sel.Name != "NewCond" {
		return
	}
	if pkg, ok := fun.X.(*ast.Ident); ok && c.isPackage(pkg, "sync") {
		fun.X = ast.NewIdent("inspect")
		n.Args = append([]ast.Expr{&ast.BasicLit{Kind: token.STRING, Value: `""`}}, n.Args...)
		c.usesIt = true
	}
}

func (c *converter) isPackage(id *ast.Ident, path string) bool {
	name, ok := c.info.Uses[id].(*types.PkgName)
	return ok && name.Imported().Path() == path
}

// channel converts an operation on a channel.
func (c *converter) channel(at *astutil.Cursor) bool {
	switch n := at.Node().(type) {
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			at.Replace(call(c.receiver(at), n.X))
		}
	case *ast.SendStmt:
		if _, clause := at.Parent().(*ast.CommClause); !clause || at.Name() != "Comm" {
			at.Replace(&ast.ExprStmt{X: &ast.CallExpr{Fun: call("send", n.Chan), Args: []ast.Expr{n.Value}}})
		}
	case *ast.RangeStmt:
		if t := c.info.TypeOf(n.X); t != nil {
			if _, ok := t.Underlying().(*types.Chan); ok {
				n.X = call("all", n.X)
			}
		}
	case *ast.CallExpr:
		c.builtin(n)
	case *ast.SelectStmt:
		at.Replace(c.selectStatement(n))
	}
	return true
}

// builtin converts make and close.
func (c *converter) builtin(n *ast.CallExpr) {
	fun, ok := n.Fun.(*ast.Ident)
	if !ok || len(n.Args) == 0 {
		return
	}
	if _, ok := c.info.Uses[fun].(*types.Builtin); !ok {
		return
	}
	switch kind, makes := n.Args[0].(*ast.ChanType); {
	case fun.Name == "close":
		n.Fun = ast.NewIdent("closing")
	case fun.Name == "make" && makes:
		size := ast.Expr(&ast.BasicLit{Kind: token.INT, Value: "0"})
		if len(n.Args) == 2 {
			size = call("int", n.Args[1])
		}
		n.Fun = &ast.IndexExpr{X: ast.NewIdent("channel"), Index: kind.Value}
		n.Args = []ast.Expr{size}
	}
}

// receiver is the function that receives: one that returns whether the channel was
// open where that is asked for.
func (c *converter) receiver(at *astutil.Cursor) string {
	if assign, ok := at.Parent().(*ast.AssignStmt); ok && len(assign.Lhs) == 2 && len(assign.Rhs) == 1 {
		return "receiveOpen"
	}
	return "receive"
}

// selectStatement makes
//
//	switch c1, c2 := receiving(ch), sending(to, v); choose(c1, c2) {
//	case 0:
//		x, ok := c1.value, c1.open
//
// of a select statement. It stays one statement, so labels and break keep their
// meaning.
func (c *converter) selectStatement(n *ast.SelectStmt) ast.Stmt {
	var (
		names, operations, arguments []ast.Expr
		body                         ast.BlockStmt
	)
	for i, stmt := range n.Body.List {
		clause := stmt.(*ast.CommClause)
		out := &ast.CaseClause{List: []ast.Expr{&ast.BasicLit{Kind: token.INT, Value: fmt.Sprint(i)}}, Body: clause.Body}
		body.List = append(body.List, out)
		if clause.Comm == nil {
			arguments = append(arguments, call("otherwise"))
			continue
		}
		c.cases++
		name := fmt.Sprintf("case%d", c.cases)
		operation, got := c.operation(clause.Comm, name)
		if got != nil {
			out.Body = append([]ast.Stmt{got}, out.Body...)
		}
		names, operations = append(names, ast.NewIdent(name)), append(operations, operation)
		arguments = append(arguments, ast.NewIdent(name))
	}
	// A select statement without a way past it ends a function; so does a switch with a
	// default.
	body.List = append(body.List, &ast.CaseClause{Body: []ast.Stmt{&ast.ExprStmt{X: call("panic", &ast.BasicLit{Kind: token.STRING, Value: `"no case was chosen"`})}}})
	out := &ast.SwitchStmt{Tag: call("choose", arguments...), Body: &body}
	if len(names) > 0 {
		out.Init = &ast.AssignStmt{Lhs: names, Tok: token.DEFINE, Rhs: operations}
	}
	return out
}

// operation converts what a clause waits for, and the assignment of what it gets.
func (c *converter) operation(comm ast.Stmt, name string) (operation ast.Expr, got ast.Stmt) {
	field := func(of string) ast.Expr { return &ast.SelectorExpr{X: ast.NewIdent(name), Sel: ast.NewIdent(of)} }
	switch comm := comm.(type) {
	case *ast.SendStmt:
		return &ast.CallExpr{Fun: call("sending", comm.Chan), Args: []ast.Expr{comm.Value}}, nil
	case *ast.ExprStmt:
		return call("receiving", received(comm.X)), nil
	case *ast.AssignStmt:
		assign := &ast.AssignStmt{Lhs: comm.Lhs, Tok: comm.Tok, Rhs: []ast.Expr{field("value")}}
		if len(comm.Lhs) == 2 {
			assign.Rhs = append(assign.Rhs, field("open"))
		}
		return call("receiving", received(comm.Rhs[0])), assign
	}
	panic(fmt.Sprintf("a select clause that is a %T", comm))
}

// received is the channel of a receive, which has been converted already.
func received(x ast.Expr) ast.Expr {
	return ast.Unparen(x).(*ast.CallExpr).Args[0]
}

func call(function string, arguments ...ast.Expr) *ast.CallExpr {
	return &ast.CallExpr{Fun: ast.NewIdent(function), Args: arguments}
}
