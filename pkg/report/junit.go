package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// Suite is a list of checks in JUnit's XML: of that, the parts that CI systems read.
type Suite struct {
	XMLName  xml.Name `xml:"testsuite"`
	Name     string   `xml:"name,attr"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Skipped  int      `xml:"skipped,attr"`
	Cases    []check  `xml:"testcase"`
}

type check struct {
	Class   string   `xml:"classname,attr"`
	Name    string   `xml:"name,attr"`
	Time    string   `xml:"time,attr"`
	Failure *message `xml:"failure,omitempty"`
	Skipped *message `xml:"skipped,omitempty"`
}

type message struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// Check is what became of one check.
type Check struct {
	File, Name string
	Seconds    float64
	Failed     string   // in a line; "": it did not fail
	Findings   []string // what is wrong, when it failed
	Skipped    string   // why it was not made
}

// Add adds a check.
func (s *Suite) Add(c Check) {
	out := check{Class: c.File, Name: c.Name, Time: fmt.Sprintf("%.3f", c.Seconds)}
	s.Tests++
	switch {
	case c.Failed != "":
		s.Failures++
		out.Failure = &message{c.Failed, strings.Join(c.Findings, "\n")}
	case c.Skipped != "":
		s.Skipped++
		out.Skipped = &message{Message: c.Skipped}
	}
	s.Cases = append(s.Cases, out)
}

// Write writes the suite.
func (s *Suite) Write(w io.Writer) error {
	data, err := xml.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, data)
	return err
}
