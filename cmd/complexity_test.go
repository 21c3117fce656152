package cmd

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestFunctionsAreShort keeps functions of the packages that carry a run to what a
// reader holds in mind.
func TestFunctionsAreShort(t *testing.T) {
	const mostLines, mostBranches = 100, 40
	seen := 0
	var paths []string
	for _, dir := range []string{"cmd", "pkg/run", "pkg/selection", "pkg/engine", "pkg/config", "pkg/journal"} {
		found, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		paths = append(paths, found...)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			seen++
			lines := files.Position(fn.End()).Line - files.Position(fn.Pos()).Line + 1
			if lines > mostLines {
				t.Errorf("%s: %s has %d lines; %d are allowed", files.Position(fn.Pos()), fn.Name.Name, lines, mostLines)
			}
			if n := branches(fn); n > mostBranches {
				t.Errorf("%s: %s has %d branches; %d are allowed", files.Position(fn.Pos()), fn.Name.Name, n, mostBranches)
			}
		}
	}
	if seen < 600 {
		t.Errorf("only %d functions were looked at", seen)
	}
}

// branches is the cyclomatic complexity of a function, with what is declared in it.
func branches(fn *ast.FuncDecl) int {
	n := 1
	ast.Inspect(fn, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			if node.List != nil {
				n++
			}
		case *ast.CommClause:
			if node.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if node.Op == token.LAND || node.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}
