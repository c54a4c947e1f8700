/* SPDX-License-Identifier: Apache-2.0 */
/*
 * truth: every number of the collectors beside an independent truth of the same run.
 *
 *   test-truth [-o table|csv|json] [SCENE…]
 *
 * Exit status: 0 when each number lies within its bound or is absent for want of a feature of this kernel; 1 when
 * one does not; 77 where BPF may not be loaded or network namespaces not made. The scenes' course is on stderr.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/unseen.h"
#include "scenes.h"

struct veth truth_veth;

static int scenes_run_again;

static int setup(void **state)
{
	return veth_add_chains(&truth_veth) ? fixture_setup(state) : -1;
}

#define ENTRY(scene) {.name = #scene, .test_func = truth_scene_##scene},
static const struct CMUnitTest scenes[] = {TRUTH_SCENES(ENTRY)};
#undef ENTRY

/* Those that are named, in the table's order; none named: all. Return: how many, 0 when a name is unknown. */
static size_t choose(char *const *names, size_t n_names, struct CMUnitTest *ret)
{
	size_t n = 0, found = 0;

	for (size_t i = 0; i < ELEMENTS_OF(scenes); i++) {
		size_t before = found;

		for (size_t j = 0; j < n_names; j++)
			found += strcmp(names[j], scenes[i].name) == 0;
		if (n_names == 0 || found > before)
			ret[n++] = scenes[i];
	}
	return found == n_names ? n : 0;
}

/* Once; again while it fails and something was unseen in its run, as unseen_main() does with a program. */
static int run_scene(const struct CMUnitTest *scene)
{
	for (int attempt = 1;; attempt++) {
		const uint64_t before = unseen_turns_of_process_1();
		const int failed = _cmocka_run_group_tests("truth", scene, 1, NULL, NULL);

		if (failed == 0 || attempt == UNSEEN_RUNS_MAX ||
		    unseen_turns_of_process_1() == before)
			return failed;
		(void)fprintf(
			stderr,
			"%s: run %d of %d failed while the kernel ran no program for some events: "
			"once more\n",
			scene->name, attempt, UNSEEN_RUNS_MAX);
		scenes_run_again++;
	}
}

/* Stdout is the table's; cmocka's words go to stderr. */
static int run_aside(struct CMUnitTest *chosen, size_t n)
{
	int out = dup(STDOUT_FILENO), failed = 0;
	void *state = NULL;

	if (out < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return 1;
	if (setup(&state) < 0)
		failed = 1;
	for (size_t i = 0; i < n && state; i++) {
		chosen[i].initial_state = state;
		failed += run_scene(&chosen[i]);
	}
	failed += fixture_teardown(&state) != 0;
	(void)fflush(stdout);
	if (dup2(out, STDOUT_FILENO) < 0)
		return 1;
	(void)close(out);
	return failed;
}

static bool is_format(const char *name)
{
	return strcmp(name, "table") == 0 || strcmp(name, "csv") == 0 || strcmp(name, "json") == 0;
}

int main(int argc, char **argv)
{
	struct CMUnitTest chosen[ELEMENTS_OF(scenes)];
	const char *format = "table";
	bool usage = false;
	int option, failed;
	size_t n;

	while ((option = getopt(argc, argv, "o:")) != -1) {
		usage = usage || option != 'o' || !is_format(optarg);
		format = optarg;
	}
	n = choose(argv + optind, (size_t)(argc - optind), chosen);
	if (usage || n == 0) {
		(void)fprintf(stderr, "usage: test-truth [-o table|csv|json] [SCENE...]\n");
		return 2;
	}
	if (geteuid() != 0 || fixture_bpf_is_refused())
		return SONDE_EXIT_SKIP;
	(void)unseen_open();
	if (veth_open(&truth_veth) < 0) {
		veth_close(&truth_veth);
		return SONDE_EXIT_SKIP;
	}
	failed = run_aside(chosen, n);
	veth_close(&truth_veth);
	return truth_print(format, failed, scenes_run_again) && failed == 0 ? 0 : 1;
}
