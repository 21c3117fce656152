package cmd

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fanfold/fanfold/pkg/cassette/serve"
)

// TestMain lets scripts, and tests that start us with FANFOLD_TEST_MAIN, run
// fanfold as a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv("FANFOLD_TEST_MAIN") == "1" {
		os.Exit(Execute(Build{Version: "test"}, os.Args[1:]))
	}
	testscript.Main(tests{m}, map[string]func(){
		"fanfold": func() {
			os.Exit(Execute(Build{Version: "test"}, os.Args[1:]))
		},
	})
}

// tests are all tests, and the cleaning up after them.
type tests struct{ *testing.M }

func (t tests) Run() int {
	// Tests that are parallel wait for processes and partners most of the time. Who says -parallel is obeyed.
	if err := flag.Set("test.parallel", fmt.Sprint(2*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	debug.SetGCPercent(800) // little lives, and many small runs make much of it anew; memory is measured in processes
	code := t.M.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir) // a folder for temporary files
	}
	return code
}

// shop is a partner behind TLS, for real clients.
type shop struct {
	server   *httptest.Server
	plain    *http.Server
	plainURL string
	inboxes  *inboxes
	once     sync.Once
}

func (s *shop) stop() {
	s.once.Do(func() {
		s.server.CloseClientConnections()
		s.server.Close()
		_ = s.plain.Close() // nobody is asked any more
	})
}

// newShop starts it. It takes orders, answers with an access token and an
// address of somebody, and redirects.
func newShop() (*shop, []byte, error) {
	ca, err := serve.NewAuthority(time.Now())
	if err != nil {
		return nil, nil, err
	}
	cert, err := ca.Certificate("127.0.0.1")
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	n := 0
	var mu sync.Mutex
	mux.HandleFunc("POST /v1/orders", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Authorization") != "Bearer "+scriptSecret {
			http.Error(w, `{"error":"who are you?"}`, http.StatusUnauthorized)
			return
		}
		mu.Lock()
		n++
		id := n
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", "sid=c00kie-c00kie-c00kie; Path=/")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{"id": fmt.Sprintf("ord_%d", id), "bytes": len(body),
			"access_token": "tok-" + scriptSecret, "contact": "ada.lovelace@analytical-engines.co.uk"})
	})
	mux.HandleFunc("GET /v1/old", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://"+r.Host+"/v1/new", http.StatusFound)
	})
	mux.HandleFunc("GET /v1/new", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "here") })
	mux.HandleFunc("GET /v1/base64", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "%"+scriptSecret[:4]+"%"+scriptSecret[4:]) // not a form of the secret that anybody would know
	})
	all := &shop{inboxes: newInboxes()}
	mux.Handle("/inbox/", all.inboxes)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !all.odd(w, r) {
			mux.ServeHTTP(w, r)
		}
	}))
	s.EnableHTTP2 = true
	s.Config.DisableGeneralOptionsHandler = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	all.server = s
	return all, ca.PEM(), all.startPlain()
}

// scriptSecret is the value of SHOP_API_KEY in scripts.
const scriptSecret = "hunter2-hunter2-hunter2"

// TestScripts runs testdata/script: the binary as a user would, with real
// clients against a real server with TLS.
func TestScripts(t *testing.T) {
	goClient := sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "fanfold-client-")
		if err != nil {
			return "", err
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		bin := filepath.Join(dir, "goclient")
		return bin, goBuild("./testdata/goclient", bin)
	})
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			s, ca, err := newShop()
			if err != nil {
				return err
			}
			env.Defer(s.stop)
			env.Values["shop"] = s
			client, err := goClient()
			if err != nil {
				return err
			}
			bin := filepath.Join(env.WorkDir, "bin")
			if err := os.MkdirAll(bin, 0o755); err != nil {
				return err
			}
			if err := os.Symlink(client, filepath.Join(bin, "goclient")); err != nil {
				return err
			}
			path := filepath.Join(env.WorkDir, "shop-ca.pem")
			if err := os.WriteFile(path, ca, 0o600); err != nil {
				return err
			}
			events, err := filepath.Abs("../cassettes/events")
			if err != nil {
				return err
			}
			catalogue, err := filepath.Abs("../cassettes")
			if err != nil {
				return err
			}
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("SHOP", s.server.URL)
			env.Setenv("PLAIN", s.plainURL)
			env.Setenv("SHOP_CA", path)
			env.Setenv("SHOP_API_KEY", scriptSecret)
			env.Setenv("EVENTS", events)
			env.Setenv("CATALOGUE", catalogue)
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, "state"))
			env.Setenv("FANFOLD_REDACTION_KEY", "the key of these scripts")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// got, answer and last are about inboxes: see inbox_test.go.
			// stop-shop stops the partner: what is answered from now on is
			// answered by us.
			"got": func(ts *testscript.TestScript, neg bool, args []string) {
				ts.Value("shop").(*shop).inboxes.gotCommand(ts, neg, args)
			},
			"answer": func(ts *testscript.TestScript, neg bool, args []string) {
				ts.Value("shop").(*shop).inboxes.answerCommand(ts, neg, args)
			},
			"last": func(ts *testscript.TestScript, neg bool, args []string) {
				ts.Value("shop").(*shop).inboxes.lastCommand(ts, neg, args)
			},
			"stop-shop": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Value("shop").(*shop).stop()
			},
			// code CODE COMMAND... runs a command that has to exit with a code.
			"code": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: code CODE COMMAND...")
				}
				err := ts.Exec(args[1], args[2:]...)
				got := 0
				if exit, ok := err.(*exec.ExitError); ok {
					got = exit.ExitCode()
				} else if err != nil {
					ts.Fatalf("%v", err)
				}
				if fmt.Sprint(got) != args[0] {
					ts.Fatalf("exit code %d, want %s\n%s", got, args[0], ts.ReadFile("stderr"))
				}
			},
			// no-secret PATH... fails when a file holds the secret or somebody's
			// address.
			"no-secret": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, path := range args {
					err := filepath.WalkDir(ts.MkAbs(path), func(p string, d os.DirEntry, err error) error {
						if err != nil || d.IsDir() {
							return err
						}
						data, err := os.ReadFile(p)
						for _, s := range []string{scriptSecret, "analytical-engines", "c00kie-c00kie"} {
							if strings.Contains(string(data), s) {
								ts.Fatalf("%s holds %s:\n%s", p, s, data)
							}
						}
						return err
					})
					if err != nil {
						ts.Fatalf("%v", err)
					}
				}
			},
		},
		Condition: func(cond string) (bool, error) {
			if name, ok := strings.CutPrefix(cond, "has:"); ok {
				_, err := exec.LookPath(name)
				return err == nil, nil
			}
			return false, fmt.Errorf("there is no condition %s", cond)
		},
	})
}
