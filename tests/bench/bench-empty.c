/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-empty [CGROUP]: attaches an empty program to each hook that this kernel
 * has (and sockops to the cgroup v2 folder CGROUP), writes "ready" and keeps
 * them until its standard input ends. tests/bench/run reads their cost.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "empty.skel.h"

#define HOOKS_MAX 64

static int refuse_to_print(enum libbpf_print_level level, const char *fmt, va_list args)
{
	return 0; /* what fails is told by its name below */
}

/* Hooks that the kernel lacks are left out; the others must load. */
static int load(struct empty_bpf *skel)
{
	static const char prefix[] = "tp_btf/";
	struct btf *btf = btf__load_vmlinux_btf();
	struct bpf_program *prog;

	if (!btf)
		return sonde_log_err(-errno, "no kernel BTF");
	bpf_object__for_each_program (prog, skel->obj) {
		const char *section = bpf_program__section_name(prog);
		char type[80];

		if (strncmp(section, prefix, sizeof(prefix) - 1) != 0)
			continue;
		(void)snprintf(type, sizeof(type), "btf_trace_%s", section + sizeof(prefix) - 1);
		if (btf__find_by_name_kind(btf, type, BTF_KIND_TYPEDEF) < 0)
			(void)bpf_program__set_autoload(prog, false);
	}
	btf__free(btf);
	return empty_bpf__load(skel);
}

static int attach(struct empty_bpf *skel, const char *cgroup, struct bpf_link *links[HOOKS_MAX])
{
	_cleanup_close_ int fd = cgroup ? open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	struct bpf_program *prog;
	size_t n = 0;

	if (cgroup && fd < 0)
		return sonde_log_err(-errno, "cannot open '%s'", cgroup);
	bpf_object__for_each_program (prog, skel->obj) {
		bool sockops = bpf_program__type(prog) == BPF_PROG_TYPE_SOCK_OPS;

		if (!bpf_program__autoload(prog) || (sockops && fd < 0))
			continue;
		if (n == HOOKS_MAX)
			return -E2BIG;
		links[n] =
			sockops ? bpf_program__attach_cgroup(prog, fd) : bpf_program__attach(prog);
		if (!links[n])
			return sonde_log_err(-errno, "cannot attach %s", bpf_program__name(prog));
		n++;
	}
	return 0;
}

int main(int argc, char *argv[])
{
	struct bpf_link *links[HOOKS_MAX] = {0};
	struct empty_bpf *skel;
	int r = 0;

	sonde_log_set_program("bench-empty");
	(void)libbpf_set_print(refuse_to_print);
	skel = empty_bpf__open();
	if (!skel)
		r = sonde_log_err(-errno, "cannot open the object");
	if (r == 0)
		r = load(skel);
	if (r == 0)
		r = attach(skel, argc > 1 ? argv[1] : NULL, links);
	if (r == 0) {
		(void)puts("ready");
		(void)fflush(stdout);
		while (getchar() != EOF)
			;
	}
	for (size_t i = 0; i < HOOKS_MAX; i++)
		(void)bpf_link__destroy(links[i]);
	empty_bpf__destroy(skel);
	return r == 0 ? 0 : 1;
}
