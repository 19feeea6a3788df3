package report

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/asyncinspect/asyncinspect/sdk/taskspan"
)

// A wait of a kind that the vocabulary has is not refused.
func TestEveryKindOfTheVocabularyIsKnown(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../../sdk/taskspan/values.go", nil, 0)
	require.NoError(t, err)
	kinds := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if of, ok := spec.Type.(*ast.Ident); ok && of.Name == "Kind" {
			kind, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			require.True(t, taskspan.Kind(kind).Known(), kind)
			kinds++
		}
		return true
	})
	require.Equal(t, 15, kinds)
	require.False(t, taskspan.Kind("twice").Known())
}
