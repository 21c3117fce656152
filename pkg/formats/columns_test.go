package formats

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/fanfold/fanfold/pkg/source"
)

// TestColumns reads tables of columns as the same events as those of text.
func TestColumns(t *testing.T) {
	at := time.Date(2024, 3, 10, 2, 30, 3, 0, time.UTC)
	type identifies struct {
		ID      string    `parquet:"id"`
		At      time.Time `parquet:"received_at,timestamp(microsecond)"`
		User    string    `parquet:"user_id"`
		First   string    `parquet:"first_name"`
		Plan    *string   `parquet:"plan"`
		Age     int64     `parquet:"age"`
		Page    string    `parquet:"context_page_url"`
		Loading time.Time `parquet:"uuid_ts,timestamp(microsecond)"`
	}
	type posthog struct {
		UUID       string    `parquet:"uuid"`
		Event      string    `parquet:"event"`
		At         time.Time `parquet:"timestamp,timestamp(microsecond)"`
		Distinct   string    `parquet:"distinct_id"`
		Properties string    `parquet:"properties"`
		Person     string    `parquet:"person_properties"`
	}
	type ga4 struct {
		Name   string `parquet:"event_name"`
		At     int64  `parquet:"event_timestamp"`
		Pseudo string `parquet:"user_pseudo_id"`
		Params []struct {
			Key   string `parquet:"key"`
			Value struct {
				Text *string `parquet:"string_value"`
				Int  *int64  `parquet:"int_value"`
			} `parquet:"value"`
		} `parquet:"event_params,list"`
	}
	visit := ga4{Name: "page_view", At: at.UnixMicro(), Pseudo: "p.1"}
	visit.Params = append(visit.Params, struct {
		Key   string `parquet:"key"`
		Value struct {
			Text *string `parquet:"string_value"`
			Int  *int64  `parquet:"int_value"`
		} `parquet:"value"`
	}{Key: "page_title"})
	home := "Home"
	visit.Params[0].Value.Text = &home
	type queue struct {
		Topic   string `parquet:"TopicArn"`
		Message string `parquet:"Message"`
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"identifies.parquet": {table(t, identifies{"m-1", at, "u-1", "Ann", nil, 31, "https://shop.example/", at}),
			`{"context":{"page":{"url":"https://shop.example/"}},"messageId":"m-1","receivedAt":"2024-03-10T02:30:03Z",` +
				`"timestamp":"2024-03-10T02:30:03.000Z","traits":{"age":31,"firstName":"Ann"},"type":"identify","userId":"u-1"}`},
		"posthog.parquet": {table(t, posthog{"x-1", "bought", at, "u-1", `{"n":1,"$device_id":"d-1"}`, "{}"}),
			`{"anonymousId":"d-1","context":{"device":{"id":"d-1"}},"event":"bought","messageId":"x-1",` +
				`"properties":{"$device_id":"d-1","n":1},"timestamp":"2024-03-10T02:30:03Z","type":"track","userId":"u-1"}`},
		"ga4.parquet": {table(t, visit),
			`{"anonymousId":"p.1","context":{"page":{"title":"Home"}},"event":"page_view",` +
				`"messageId":"p.1-1710037803000000-page_view-","name":"Home","properties":{"page_title":"Home","title":"Home"},` +
				`"timestamp":"2024-03-10T02:30:03.000Z","type":"page"}`},
		"sns.parquet": {table(t, queue{"t", `{"type":"track","event":"A","timestamp":"2024-03-10T02:30:03Z"}`}),
			`{"event":"A","timestamp":"2024-03-10T02:30:03Z","type":"track"}`},
		"customers.parquet": {table(t, struct{ Email string }{"ann@shop.example"}),
			"! customers.parquet is a table of columns"},
	} {
		dir := t.TempDir()
		in := filepath.Join(dir, name)
		if err := os.WriteFile(in, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		all := strings.Join(readAll(t, source.Options{From: []string{in}}), "\n")
		got := strings.ReplaceAll(all, dir+string(filepath.Separator), "")
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: read\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

func table[T any](t *testing.T, rows ...T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
