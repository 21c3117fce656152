package cmd

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestTop: another process sees how a run stands while it goes on, and is done when the run is.
func TestTop(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	env := map[string]string{"XDG_STATE_HOME": t.TempDir()}
	held, goOn := make(chan struct{}), make(chan struct{})
	first := true
	p.answers(func(http.ResponseWriter, *http.Request, []string) bool {
		if first {
			first = false
			close(held)
			<-goOn
		}
		return false
	})
	in := file(t, "in.jsonl", events(20))
	done := make(chan int)
	go func() {
		a := testApp(env)
		done <- a.execute(context.Background(), []string{"forward", "--from", in, "--to", "webhook",
			"--set", "webhook.url=" + p.URL,
			"--progress", "never"})
	}()
	<-held
	watched := make(chan string)
	go func() {
		a := testApp(env)
		code := a.execute(context.Background(), []string{"top"})
		watched <- fmt.Sprintf("%d %s%s", code, a.out, a.err)
	}()
	close(goOn)
	if code := <-done; code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	said := <-watched
	if !strings.HasPrefix(said, "0 ") || !strings.Contains(said, "webhook: done, 20 of 20 events") ||
		!strings.Contains(said, " is complete") {
		t.Errorf("it is seen as %s", said)
	}
}
