// Command measure says which lines and functions are too long to read, and which
// functions have too many branches, in the form of an analyzer: file:line:column: what.
//
// A line is counted without what stands in raw strings, which is data, and without the
// spaces that align it; a line of one word, like an address in a comment, is not counted
// at all. Of functions of tests, which are mostly tables, the length is not measured.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	mostCharacters = 120 // in a line; a tab is one
	mostLines      = 80  // in a function
	mostBranches   = 40  // in a function: its cyclomatic complexity
)

var aligned = regexp.MustCompile(`  +`)

func main() {
	failed := false
	for _, path := range os.Args[1:] {
		if err := measure(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			failed = true
		}
	}
	if failed {
		os.Exit(2)
	}
}

func measure(path string) error {
	src, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for n, line := range strings.Split(withoutRawStrings(src), "\n") {
		line = aligned.ReplaceAllString(line, " ")
		if utf8.RuneCountInString(line) <= mostCharacters {
			continue
		}
		if len(strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "//"))) > 1 {
			fmt.Printf("%s:%d:1: a line has more than %d characters\n", path, n+1, mostCharacters)
		}
	}
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, path, src, 0)
	if err != nil {
		return err
	}
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Body == nil || strings.HasSuffix(path, "_test.go") {
			continue
		}
		at := files.Position(fn.Pos()).Line
		if files.Position(fn.End()).Line-at+1 > mostLines {
			fmt.Printf("%s:%d:1: %s has more than %d lines\n", path, at, fn.Name.Name, mostLines)
		}
		if branches(fn) > mostBranches {
			fmt.Printf("%s:%d:1: %s has more than %d branches\n", path, at, fn.Name.Name, mostBranches)
		}
	}
	return nil
}

// withoutRawStrings is a file with all raw strings emptied, but for their line ends.
func withoutRawStrings(src []byte) string {
	files := token.NewFileSet()
	f := files.AddFile("", -1, len(src))
	var s scanner.Scanner
	s.Init(f, src, nil, 0)
	var out strings.Builder
	end := 0
	for {
		pos, t, lit := s.Scan()
		if t == token.EOF {
			out.Write(src[end:])
			return out.String()
		}
		if t != token.STRING || lit[0] != '`' {
			continue
		}
		at := f.Offset(pos)
		out.Write(src[end:at])
		out.WriteString("`" + strings.Repeat("\n", strings.Count(lit, "\n")) + "`")
		end = at + len(lit)
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
