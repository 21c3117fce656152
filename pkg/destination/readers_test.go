package destination_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestDeclarationsAreRead finds fields of declarations that nobody reads: a partner that declares one would say
// something that changes nothing. A field has a reader when its name is read somewhere in pkg or cmd, or in a
// destination. Copying it into a field of the same name is no reading, because then somebody has to read that one; nor
// are the calls of a method of its name, by which destinations declare it. Names are all that is compared, so of two
// fields with the same name one reader is enough.
func TestDeclarationsAreRead(t *testing.T) {
	declared := map[string]string{} // field, in lower case: where it is
	read := map[string]bool{}
	for _, dir := range []string{"pkg", "cmd", "destinations"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			readers(f, dir == "destinations", read)
			if filepath.Base(filepath.Dir(path)) == "destination" {
				fieldsIn(f, declared)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(declared) < 100 || !read["attempts"] {
		t.Fatalf("found only %d fields, so the walk does not find what it looks for", len(declared))
	}
	for field, where := range declared {
		if !read[field] {
			t.Errorf("nobody reads %s: have it read where it makes a difference, or take it out", where)
		}
	}
}

// fieldsIn collects the fields of all structs of a file.
func fieldsIn(f *ast.File, declared map[string]string) {
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name == "Signing" { // what a signature may be made of: partners read it that sign
			return true
		}
		if of, ok := spec.Type.(*ast.StructType); ok {
			for _, field := range of.Fields.List {
				for _, name := range field.Names {
					declared[strings.ToLower(name.Name)] = spec.Name.Name + "." + name.Name
				}
			}
		}
		return true
	})
}

// readers collects the names that are read of something.
func readers(f *ast.File, declares bool, read map[string]bool) {
	no := map[ast.Node]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, to := range n.Lhs {
				no[to] = true
			}
		case *ast.KeyValueExpr:
			key, isName := n.Key.(*ast.Ident)
			from, isField := n.Value.(*ast.SelectorExpr)
			no[n.Value] = isName && isField && strings.EqualFold(key.Name, from.Sel.Name)
		case *ast.CallExpr:
			no[n.Fun] = declares
		case *ast.SelectorExpr:
			if !no[n] {
				read[strings.ToLower(n.Sel.Name)] = true
			}
		}
		return true
	})
}
