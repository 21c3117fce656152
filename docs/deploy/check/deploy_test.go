package check

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// command is a command line of fanfold that stands in a file, with the configuration
// that it is given there.
type command struct {
	file   string
	args   []string
	config string
}

// manifests decodes every document of docs/deploy/kubernetes strictly: a member that
// Kubernetes does not know is an error.
func manifests(t *testing.T) []command {
	t.Helper()
	files, err := filepath.Glob("../kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no manifests", err)
	}
	config := ""
	var found []command
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range bytes.Split(text, []byte("\n---\n")) {
			var head struct{ Kind string }
			if err := yaml.Unmarshal(part, &head); err != nil {
				t.Fatal(file, err)
			}
			strict := func(into any) {
				t.Helper()
				if err := yaml.UnmarshalStrict(part, into); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			}
			var pod corev1.PodSpec
			switch head.Kind {
			case "ConfigMap":
				var c corev1.ConfigMap
				strict(&c)
				config = c.Data["fanfold.yaml"]
				continue
			case "PersistentVolumeClaim":
				strict(&corev1.PersistentVolumeClaim{})
				continue
			case "CronJob":
				var c batchv1.CronJob
				strict(&c)
				pod = c.Spec.JobTemplate.Spec.Template.Spec
				if c.Spec.ConcurrencyPolicy != batchv1.ForbidConcurrent {
					t.Errorf("%s: two pods would work on one run", file)
				}
			case "Job":
				var j batchv1.Job
				strict(&j)
				pod = j.Spec.Template.Spec
			default:
				t.Fatalf("%s: a %q, which this test does not know", file, head.Kind)
			}
			for _, c := range pod.Containers {
				mounted(t, file, pod, c)
				found = append(found, command{file, c.Args, ""})
			}
		}
	}
	for i := range found {
		found[i].config = config
	}
	return found
}

// mounted asks that what is mounted is there, and that the state outlives the pod.
func mounted(t *testing.T, file string, pod corev1.PodSpec, c corev1.Container) {
	t.Helper()
	claims := map[string]bool{}
	for _, v := range pod.Volumes {
		claims[v.Name] = v.PersistentVolumeClaim != nil
	}
	state := false
	for _, m := range c.VolumeMounts {
		kept, ok := claims[m.Name]
		if !ok {
			t.Errorf("%s: no volume %q", file, m.Name)
		}
		state = state || m.MountPath == "/state" && kept
	}
	if !state {
		t.Errorf("%s: the state is on no claim", file)
	}
}

// units gives the command lines of docs/deploy/systemd.
func units(t *testing.T) []command {
	t.Helper()
	files, err := filepath.Glob("../systemd/*.service")
	if err != nil || len(files) == 0 {
		t.Fatal("no units", err)
	}
	var found []command
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "ExecStart=/usr/bin/fanfold "); ok {
				found = append(found, command{file, strings.Fields(rest), ""})
			}
		}
	}
	return found
}

// Every command line is carried out: with another input, against stand-ins, and with
// plan instead of forward where it would go on for ever.
func TestCommandLines(t *testing.T) {
	for _, c := range append(manifests(t), units(t)...) {
		t.Run(filepath.Base(c.file), func(t *testing.T) {
			dir := t.TempDir()
			if c.config == "" {
				c.config = "destinations: {file: {settings: {path: out.jsonl}}}\n"
			}
			event := `{"type":"track","event":"A","messageId":"m","userId":"u","timestamp":"2024-05-29T10:00:00Z"}` + "\n"
			for name, text := range map[string]string{"fanfold.yaml": c.config, "events/e.jsonl": event} {
				at := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := append([]string{}, c.args...)
			from := ""
			for i, a := range args {
				if i > 0 && args[i-1] == "--from" {
					from, args[i] = a, "events"
				}
			}
			if from == "" {
				t.Fatalf("no --from in %v", args)
			}
			if follows(args) {
				args = ended(args)
			}
			args = append(args, "--rehearse", "-o", "json")
			run := exec.Command(built, args...)
			run.Dir = dir
			run.Env = []string{"MP_TOKEN=t", "MP_SECRET=s", "HOME=" + dir, "PATH=" + os.Getenv("PATH")}
			var stderr strings.Builder
			run.Stderr = &stderr
			out, err := run.Output()
			var summary struct{ Exit int }
			if err != nil || json.Unmarshal(out, &summary) != nil {
				t.Errorf("fanfold %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
			}
		})
	}
}

func follows(args []string) bool {
	for _, a := range args {
		if a == "--follow" {
			return true
		}
	}
	return false
}

// ended is a command line without --follow; that the flag exists is asked of help.
func ended(args []string) []string {
	var kept []string
	for _, a := range args {
		if a != "--follow" {
			kept = append(kept, a)
		}
	}
	return kept
}

// The flags that a rehearsal cannot be given have to be there.
func TestFlagsExist(t *testing.T) {
	help, err := exec.Command(built, "forward", "--help").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range append(manifests(t), units(t)...) {
		for _, a := range c.args {
			if flag, ok := strings.CutPrefix(a, "--"); ok && !strings.Contains(string(help), "--"+flag+" ") {
				t.Errorf("%s: forward has no --%s", c.file, flag)
			}
		}
	}
}

// systemd itself reads the units, with a root in which the program is where they say.
func TestUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("SKIPPED: no systemd-analyze here")
	}
	files, err := filepath.Glob("../systemd/*")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// The program is looked for where the unit says; this machine need not have it.
		text = bytes.ReplaceAll(text, []byte("/usr/bin/fanfold"), []byte("/bin/true"))
		text = bytes.ReplaceAll(text, []byte("Documentation=man:fanfold(1) man:fanfold-resume(7)\n"), nil)
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range files {
		out, err := exec.Command(analyze, "verify", filepath.Join(dir, filepath.Base(file))).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			// What it says of other units of this machine is not ours.
			if strings.Contains(line, "fanfold") {
				t.Errorf("%s: %s", file, line)
			}
		}
		if err != nil && !strings.Contains(string(out), "fanfold") {
			t.Logf("%s: %v: %s", file, err, out)
		}
	}
}
