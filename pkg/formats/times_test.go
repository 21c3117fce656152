package formats

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/fanfold/fanfold/pkg/source"
)

// instants are texts that mean 2024-03-10T02:30:00Z, or 123 ms later.
var instants = []string{
	"2024-03-10T02:30:00.123Z", "2024-03-10T02:30:00.123+00:00", "2024-03-10T03:30:00.123+01:00",
	"2024-03-10t02:30:00.123z",
	"2024-03-10 02:30:00.123", "2024-03-10 02:30:00.123000", "2024-03-10 02:30:00.123 UTC", "2024-03-10 02:30:00.123+00",
	"2024-03-10 02:30:00.123 +0000", "2024-03-10 02:30:00.123 +0000 UTC", "2024-03-10T02:30:00.123000000Z",
	"2024-03-10T02:30:00,123Z", "20240310T023000.123Z", "20240310T023000Z", "1710037800", "1710037800123",
	"1710037800.123",
	"1710037800123000", "1710037800123000000", "1710037800123.0", "1.710037800123E12", "2024-03-10T02:30:00.123Z[UTC]",
	"2024/03/10 02:30:00.123", "2024-03-10 2:30:00.123 AM", "Mar 10, 2024 2:30:00.123 AM", "10 Mar 2024 02:30:00.123",
	"2024-03-10T02:30Z", "Sun Mar 10 2024 02:30:00 GMT+0000 (Coordinated Universal Time)", "Sun Mar 10 02:30:00 UTC 2024",
	"Sun, 10 Mar 2024 02:30:00 +0000", "10/Mar/2024:02:30:00 +0000", "March 10th, 2024 at 2:30 AM", "10.03.2024 02:30:00",
	" 2024-03-10T02:30:00.123Z ",
}

// unclear are texts that mean no instant, or several: they are left as they are, for whoever is
// told the time to refuse.
var unclear = []string{
	"2024-W10-7", "45361.1041680", "0", "-1", "03/10/2024", "10/03/2024 02:30", "2024-03-10 02:30:00 EST",
	"2024-02-30T00:00:00Z", "2024-03-10T25:00:00Z", "0000-00-00 00:00:00", "infinity", "NaN", "soon",
}

// TestTimesInEveryForm: what a time is written as means the same in a cell of CSV, in JSON as a text and, where it is
// one, as a number, and in a column of Parquet.
func TestTimesInEveryForm(t *testing.T) {
	files := map[string][]byte{}
	var text bytes.Buffer
	table := csv.NewWriter(&text)
	var lines, wide bytes.Buffer
	type row struct {
		Event     string `parquet:"event"`
		UserID    string `parquet:"user_id"`
		Timestamp string `parquet:"timestamp"`
	}
	packed := parquet.NewGenericWriter[row](&wide)
	write := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	write(table.Write([]string{"event", "user_id", "timestamp"}))
	for _, s := range append(append([]string{}, instants...), unclear...) {
		write(table.Write([]string{"A", "u", s}))
		_, err := packed.Write([]row{{"A", "u", s}})
		write(err)
		quoted, err := json.Marshal(s)
		write(err)
		fmt.Fprintf(&lines, `{"type":"track","event":"A","userId":"u","timestamp":%s}`+"\n", quoted)
	}
	table.Flush()
	write(packed.Close())
	files["cells.csv"], files["texts.jsonl"], files["texts.parquet"] = text.Bytes(), lines.Bytes(), wide.Bytes()
	for name, data := range files {
		events := readAll(t, source.Options{From: []string{placed(t, name, data)}})
		if len(events) != len(instants)+len(unclear) {
			t.Fatalf("%s: %q", name, events)
		}
		for i, ev := range events {
			stands := timestampOf(t, ev)
			if i < len(instants) {
				want := int64(1710037800000)
				if strings.Contains(instants[i], "123") {
					want += 123
				}
				if at, err := time.Parse(time.RFC3339Nano, stands); err != nil || at.UnixMilli() != want {
					t.Errorf("%s: %q is read as %s", name, instants[i], stands)
				}
			}
			if i >= len(instants) && stands != unclear[i-len(instants)] {
				t.Errorf("%s: %q is read as %s", name, unclear[i-len(instants)], stands)
			}
		}
	}
	var numbers bytes.Buffer
	digits := []string{"1710037800123", "1710037800.123", "1710037800123000", "1710037800123000000", "1.710037800123e12"}
	for _, n := range digits {
		fmt.Fprintf(&numbers, `{"type":"track","event":"A","userId":"u","timestamp":%s}`+"\n", n)
	}
	var columns bytes.Buffer
	type typed struct {
		Event     string    `parquet:"event"`
		UserID    string    `parquet:"user_id"`
		Timestamp time.Time `parquet:"timestamp,timestamp(microsecond)"`
		SentAt    int64     `parquet:"sent_at"`
	}
	instant := time.UnixMilli(1710037800123).UTC()
	write(parquet.Write(&columns, []typed{{"A", "u", instant, 1710037800123}}))
	for name, data := range map[string][]byte{"numbers.jsonl": numbers.Bytes(), "typed.parquet": columns.Bytes()} {
		for i, ev := range readAll(t, source.Options{From: []string{placed(t, name, data)}}) {
			if got := timestampOf(t, ev); got != "2024-03-10T02:30:00.123Z" {
				t.Errorf("%s: %d is read as %s", name, i, got)
			}
		}
	}
}

// placed writes a file.
func placed(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func timestampOf(t *testing.T, ev string) string {
	t.Helper()
	var v struct{ Timestamp string }
	if err := json.Unmarshal([]byte(ev), &v); err != nil {
		t.Fatalf("%v: %s", err, ev)
	}
	return v.Timestamp
}
