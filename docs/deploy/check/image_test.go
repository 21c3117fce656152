package check

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

const root = "../../.."

// built is fanfold, built once as the Dockerfile does.
var built string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "fanfold-check")
	if err == nil {
		built = filepath.Join(dir, "fanfold")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=check", "-o", built, ".")
		build.Dir, build.Stderr = root, os.Stderr
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		err = build.Run()
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// stages reads the Dockerfile, also with the checks that `docker build --check` makes.
func stages(t *testing.T) []instructions.Stage {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, what, _, msg string, _ []parser.Range) {
		t.Errorf("Dockerfile: %s: %s (%s)", rule, msg, what)
	}})
	all, _, err := instructions.Parse(tree.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestReleaseNeedsTheProgramAlone: the image of a release is built in a folder that holds the
// programs and nothing else,
// by platform. No stage that it needs may take anything else from there.
func TestReleaseNeedsTheProgramAlone(t *testing.T) {
	all := stages(t)
	needed, taken := []string{"release"}, 0
	for i := 0; i < len(needed); i++ {
		for _, s := range all {
			if s.Name != needed[i] {
				continue
			}
			needed = append(needed, s.BaseName)
			for _, c := range s.Commands {
				if _, is := c.(*instructions.AddCommand); is {
					t.Errorf("stage %s adds files: COPY says from where", s.Name)
				}
				if c, is := c.(*instructions.CopyCommand); is && c.From != "" {
					needed = append(needed, c.From)
				} else if is {
					if taken++; len(c.SourcePaths) != 1 || c.SourcePaths[0] != "$TARGETPLATFORM/fanfold" {
						t.Errorf("stage %s of a release takes %q of the folder, which is not there", s.Name, c.SourcePaths)
					}
				}
			}
		}
	}
	if taken != 1 {
		t.Errorf("a release takes %d times something of the folder, stages %q", taken, needed)
	}
}

// builder is the file system of the stage that builds, as far as images copy from it.
type builder struct {
	t      *testing.T
	binary string
}

// read gives the files at and below a path of the builder: their names below it ("" is
// the path itself) and what they hold; nil content is a folder.
func (b builder) read(from string) map[string][]byte {
	b.t.Helper()
	switch from {
	case "/out/fanfold":
		text, err := os.ReadFile(b.binary)
		if err != nil {
			b.t.Fatal(err)
		}
		return map[string][]byte{"": text}
	case "/out/state", "/out/tmp":
		return map[string][]byte{"": nil}
	case "/etc/ssl/certs/ca-certificates.crt", "/usr/share/zoneinfo":
	default:
		b.t.Fatalf("the Dockerfile copies %s, which this test does not know", from)
	}
	found := map[string][]byte{}
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		name, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		if name == "." {
			name = ""
		}
		if d.IsDir() {
			found[name] = nil
			return nil
		}
		found[name], err = os.ReadFile(p)
		return err
	})
	if err != nil {
		b.t.Skipf("SKIPPED: this machine lacks what the builder has: %v", err)
	}
	return found
}

// image carries out the instructions of the last stage and of those it stands on.
func image(t *testing.T) v1.Image {
	t.Helper()
	all := stages(t)
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH,
		RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		t.Fatal(err)
	}
	b := builder{t, built}
	var chain []instructions.Stage
	for name := ""; name != "scratch"; {
		at := len(all) - 1
		for i, s := range all {
			if s.Name == name && name != "" {
				at = i
			}
		}
		if name != "" && all[at].Name != name {
			t.Fatalf("the image stands on %s: it has to stand on scratch alone", name)
		}
		chain = append([]instructions.Stage{all[at]}, chain...)
		name = all[at].BaseName
	}
	var config v1.Config
	for _, s := range chain {
		for _, c := range s.Commands {
			switch c := c.(type) {
			case *instructions.CopyCommand:
				if img, err = mutate.AppendLayers(img, layer(t, b, c)); err != nil {
					t.Fatal(err)
				}
			case *instructions.EnvCommand:
				for _, kv := range c.Env {
					config.Env = append(config.Env, kv.Key+"="+kv.Value)
				}
			case *instructions.UserCommand:
				config.User = c.User
			case *instructions.WorkdirCommand:
				config.WorkingDir = c.Path
			case *instructions.VolumeCommand:
				config.Volumes = map[string]struct{}{}
				for _, v := range c.Volumes {
					config.Volumes[v] = struct{}{}
				}
			case *instructions.EntrypointCommand:
				config.Entrypoint = c.CmdLine
			default:
				t.Fatalf("the Dockerfile has a %s, which this test does not carry out", c.Name())
			}
		}
	}
	img, err = mutate.Config(img, config)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func layer(t *testing.T, b builder, c *instructions.CopyCommand) v1.Layer {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	owner := 0
	if c.Chown != "" {
		uid, _, _ := strings.Cut(c.Chown, ":")
		var err error
		if owner, err = strconv.Atoi(uid); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range c.SourcePaths {
		to := c.DestPath
		if strings.HasSuffix(to, "/") {
			to = path.Join(to, path.Base(from))
		}
		for name, text := range b.read(from) {
			h := &tar.Header{Name: strings.TrimPrefix(path.Join(to, name), "/"), Uid: owner, Gid: owner, Mode: 0o755,
				Typeflag: tar.TypeDir}
			if text != nil {
				h.Typeflag, h.Size = tar.TypeReg, int64(len(text))
			}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The image is written as an OCI layout, read again, and its program is run as a
// container would run it: with that root, that user, that environment.
func TestImage(t *testing.T) {
	dir := t.TempDir()
	img := image(t)
	p, err := layout.Write(filepath.Join(dir, "oci"), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	index, err := p.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config := file.Config
	if uid, _, _ := strings.Cut(config.User, ":"); uid == "" || uid == "0" || uid == "root" {
		t.Errorf("the image runs as %q", config.User)
	}
	if _, ok := config.Volumes["/state"]; !ok {
		t.Errorf("the state is not on a volume: %v", config.Volumes)
	}
	if os.Geteuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("SKIPPED: only root on Linux can run the image's program in its own root")
	}
	files := filepath.Join(dir, "root")
	unpack(t, img, files)
	run := func(args ...string) string {
		t.Helper()
		c := exec.Command(config.Entrypoint[0], append(config.Entrypoint[1:], args...)...)
		c.Path, c.Dir, c.Env = config.Entrypoint[0], config.WorkingDir, config.Env
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: files, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		text, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		return string(text)
	}
	if err := os.MkdirAll(filepath.Join(files, config.WorkingDir), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := run("version"); !strings.Contains(got, "check") {
		t.Errorf("version says %q", got)
	}
	event := `{"type":"track","event":"A","messageId":"m","userId":"u","timestamp":"2024-05-29T10:00:00Z"}` + "\n"
	if err := os.WriteFile(filepath.Join(files, config.WorkingDir, "e.jsonl"), []byte(event), 0o644); err != nil {
		t.Fatal(err)
	}
	run("forward", "--from", "e.jsonl", "--to", "file", "--set", "file.path=/tmp/out")
	if out, err := filepath.Glob(filepath.Join(files, "tmp/out/*")); err != nil || len(out) == 0 {
		t.Errorf("forward wrote %q, %v", out, err)
	}
	if got := run("runs", "list"); !strings.Contains(got, "complete") {
		t.Errorf("the state of the run is not in %s: %s", config.Env, got)
	}
}

func unpack(t *testing.T, img v1.Image, to string) {
	t.Helper()
	flat := mutate.Extract(img)
	defer flat.Close()
	for r := tar.NewReader(flat); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(to, h.Name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(at, 0o755)
		} else {
			var text []byte
			if text, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(at, text, 0o755)
			}
		}
		if err == nil {
			err = os.Chown(at, h.Uid, h.Gid)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
