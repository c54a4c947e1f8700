/* SPDX-License-Identifier: Apache-2.0 */
/* The planner against this kernel: what is refused here is asked, not known; maps take what was said. */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "collect/plan.h"
#include "fixture.h"

enum {
	FENTRY,
	NO_HOOK,
	OTHER_ARGUMENT,
	NO_HELPER,
	FITS
};

static const struct sonde_plan_program programs[] = {
	[FENTRY] = {.function = "a",
		    .hook = "fentry/tcp_sendmsg",
		    .args = {"sock*", "msghdr*", "8"}},
	[NO_HOOK] = {.function = "c", .hook = "tp_btf/tcp_no_such_event", .args = {"sock*"}},
	[OTHER_ARGUMENT] = {.function = "d", .hook = "tp_btf/tcp_probe", .args = {"sk_buff*"}},
	[NO_HELPER] = {.function = "e",
		       .hook = "tp_btf/tcp_probe",
		       .args = {"sock*"},
		       .needs = {"bpf_func_id.BPF_FUNC_no_such_helper"}},
	[FITS] = {.function = "f",
		  .hook = "tp_btf/tcp_probe",
		  .args = {"sock*", "sk_buff*"},
		  .needs = {"tcp_sock.srtt_us", "bpf_func_id.BPF_FUNC_ktime_get_ns"}},
};

static const struct sonde_plan_metric metrics[] = {
	{.metrics = "calls",
	 .alternatives = {{SONDE_PLAN_BIT(NO_HOOK)},
			  {SONDE_PLAN_BIT(OTHER_ARGUMENT)},
			  {SONDE_PLAN_BIT(NO_HELPER)},
			  {SONDE_PLAN_BIT(FITS), .less = "sizes"}}},
	{.metrics = "trampoline", .alternatives = {{SONDE_PLAN_BIT(FENTRY)}}},
};

static const struct sonde_plan_table table = {
	.name = "test",
	.programs = programs,
	.n_programs = ELEMENTS_OF(programs),
	.metrics = metrics,
	.n_metrics = ELEMENTS_OF(metrics),
};

static int raise_nothing(void *ctx, uint64_t caps)
{
	return 0;
}

static void drop_nothing(void *ctx)
{
}

static const struct sonde_collect_config config = {
	.max_cells = 1024,
	.max_targets = 256,
	.cgroup_fd = -1,
	.raise = raise_nothing,
	.drop = drop_nothing,
};

static bool says(const char *text, const char *words)
{
	return text && strstr(text, words);
}

/* Descriptors of BPF objects that this process holds. */
static size_t count_bpf_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	if (!dir)
		return SIZE_MAX;
	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		char link[64];
		ssize_t len = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);

		link[len < 0 ? 0 : len] = '\0';
		n += strncmp(link, "anon_inode:bpf", 14) == 0 || strstr(link, "bpf_link") ||
		     strstr(link, "bpf_iter");
	}
	(void)closedir(dir);
	return n;
}

static size_t n_noted;

static void count_id(void *ctx, char kind, uint32_t id, const char *tag)
{
	n_noted++;
}

static int count_probe(void *ctx, struct sonde_probe_reply *reply)
{
	size_t *told = ctx;

	*told += reply->type == SONDE_PROBE_PROBE;
	return 0;
}

/* Of an option that nothing in this process has asked for yet. */
static void a_plan_on_trial_loads_once_and_leaves_nothing(void **state)
{
	struct sonde_collect_config c = config;
	size_t told = 0;

	/* The second tier of the collector is not put on trial. */
	if (!fixture_is_measured("last values of connections that end", "records"))
		skip();
	c.note_id = count_id;
	c.options = SONDE_PROBE_OPTION_EXECUTION_TIME;
	assert_ok(sonde_collector_tcp.plan(&c, (struct sonde_collect_sink){count_probe, &told}));
	assert_true(told > 15);
	assert_int_equal(n_noted, 0);
	c.trial = true;
	assert_ok(sonde_collector_tcp.plan(&c, (struct sonde_collect_sink){count_probe, &told}));
	assert_true(n_noted > 20);
	assert_int_equal(count_bpf_fds(), 0);
	n_noted = 0;
	assert_ok(sonde_collector_tcp.plan(&c, (struct sonde_collect_sink){count_probe, &told}));
	assert_int_equal(n_noted, 0);
}

static void what_does_not_fit_falls_through_with_its_reason(void **state)
{
	struct sonde_plan p;

	assert_ok(sonde_plan_init(&p, &table, &config));
	assert_string_equal(p.refused[NO_HOOK], "this kernel has no tracepoint tcp_no_such_event");
	assert_string_equal(p.refused[OTHER_ARGUMENT],
			    "argument 1 of tcp_probe is sock* here, not sk_buff*");
	assert_string_equal(p.refused[NO_HELPER],
			    "this kernel has no bpf_func_id.BPF_FUNC_no_such_helper");
	assert_null(p.refused[FITS]);
	assert_int_equal(p.chosen[0], 3);
	assert_true(sonde_plan_wants(&p, FITS));
	assert_false(sonde_plan_wants(&p, OTHER_ARGUMENT));
	sonde_plan_done(&p);
}

/* The kernel's own word: may a program on this function be loaded? */
static int load_fentry(const char *function)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K},
		{.code = BPF_JMP | BPF_EXIT},
	};
	struct bpf_prog_load_opts opts;
	struct btf *btf = btf__load_vmlinux_btf();
	_cleanup_close_ int fd = -1;

	assert_non_null(btf);
	memset(&opts, 0, sizeof(opts));
	opts.sz = sizeof(opts);
	opts.expected_attach_type = BPF_TRACE_FENTRY;
	opts.attach_btf_id = (uint32_t)btf__find_by_name_kind(btf, function, BTF_KIND_FUNC);
	btf__free(btf);
	fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "sonde_test", "Dual BSD/GPL", insns,
			   ELEMENTS_OF(insns), &opts);
	return fd < 0 ? fd : 0;
}

static void trampolines_are_there_if_the_kernel_says_so(void **state)
{
	int trampoline = load_fentry("tcp_sendmsg");
	struct sonde_plan p;

	assert_ok(sonde_plan_init(&p, &table, &config));
	assert_int_equal(p.refused[FENTRY] == NULL, trampoline == 0);
	if (trampoline < 0)
		assert_true(says(p.refused[FENTRY], strerror(-trampoline)));
	sonde_plan_done(&p);
}

/* Before 6.4 the kernel says what a hash could take, not what it takes. */
static bool kernel_says_what_maps_take(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool says = false;
	const struct btf_type *t;
	int id;

	assert_non_null(btf);
	id = btf__find_by_name_kind(btf, "bpf_map_ops", BTF_KIND_STRUCT);
	assert_true(id > 0);
	t = btf__type_by_id(btf, (uint32_t)id);
	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		const char *member = btf__name_by_offset(btf, btf_members(t)[i].name_off);

		says = says || strcmp(member, "map_mem_usage") == 0;
	}
	btf__free(btf);
	return says;
}

static void maps_take_what_the_plan_says(void **state)
{
	static const uint32_t peers[] = {64, 1024};
	bool exact = kernel_says_what_maps_take();

	for (size_t i = 0; i < ELEMENTS_OF(peers); i++) {
		struct sonde_collect_config c = config;
		struct sonde_collect_memory memory = {0};
		struct fixture f;
		uint64_t bytes;

		c.max_cells = peers[i];
		c.options = SONDE_PROBE_OPTION_FLOWS; /* as the fixture has it */
		assert_ok(sonde_collector_tcp.memory(&c, &memory));
		assert_ok(fixture_open(&f, &(struct fixture_options){.max_cells = peers[i]}));
		fixture_snapshot(&f);
		bytes = f.costs[0].map_bytes;
		(void)fprintf(stderr, "%u peers: planned %llu, kernel %llu, full %llu bytes\n",
			      peers[i], (unsigned long long)memory.start_bytes,
			      (unsigned long long)bytes, (unsigned long long)memory.full_bytes);
		/* Heads of maps and lists of free elements are not in the plan. */
		assert_in_range(bytes, memory.start_bytes * 9 / 10,
				(exact ? memory.start_bytes : memory.full_bytes) * 11 / 10);
		assert_true(memory.full_bytes >= memory.start_bytes);
		fixture_close(&f);
	}
}

/* Descriptors run out after so many: at a map, a program, a link, in turn. */
static void a_start_that_breaks_off_halfway_leaves_nothing(void **state)
{
	struct rlimit before, few;
	bool refused_late = false, started = false;

	assert_int_equal(count_bpf_fds(), 0);
	assert_ok(getrlimit(RLIMIT_NOFILE, &before));
	for (rlim_t n = 4; n < 100 && !started; n += 6) {
		_cleanup_close_ int lowest = dup(0);
		struct fixture f;
		int r;

		few = before;
		few.rlim_cur = (rlim_t)lowest + n;
		assert_ok(setrlimit(RLIMIT_NOFILE, &few));
		r = fixture_open(&f, &(struct fixture_options){0});
		started = r == 0;
		refused_late = refused_late || (r < 0 && n > 30);
		if (started) {
			assert_true(count_bpf_fds() > 30);
			fixture_close(&f);
		}
		assert_ok(setrlimit(RLIMIT_NOFILE, &before));
		assert_int_equal(count_bpf_fds(), 0);
	}
	assert_true(started && refused_late);
}

static void copy_file(const char *from, int to_fd, size_t most)
{
	_cleanup_close_ int fd = open(from, O_RDONLY | O_CLOEXEC);
	static char buf[1 << 16];
	ssize_t n;

	assert_true(fd >= 0);
	while (most > 0 && (n = read(fd, buf, most < sizeof(buf) ? most : sizeof(buf))) > 0) {
		assert_int_equal(write(to_fd, buf, (size_t)n), n);
		most -= (size_t)n;
	}
}

/* A table of its own: what the kernel said of another is kept. */
static void expect(const struct sonde_kernel_btf_files *btf, struct sonde_plan_table *own,
		   const char *why)
{
	struct sonde_collect_config c = config;
	struct sonde_plan p;

	c.btf = *btf;
	*own = table;
	assert_ok(sonde_plan_init(&p, own, &c));
	if (why) {
		assert_true(says(p.refused[FITS], why));
		assert_int_equal(p.chosen[0], -1);
	} else {
		assert_null(p.refused[FITS]);
		assert_string_equal(p.refused[OTHER_ARGUMENT],
				    "argument 1 of tcp_probe is sock* here, not sk_buff*");
	}
	sonde_plan_done(&p);
}

static void a_kernel_that_shows_no_btf_needs_a_file_of_it(void **state)
{
	static struct sonde_plan_table none, cut, whole;
	struct sonde_kernel_btf_files btf = {.own = "/nonexistent/vmlinux"};
	char path[] = "/tmp/sonde-test-plan-XXXXXX";
	_cleanup_close_ int fd = mkstemp(path);
	struct fixture f;

	assert_true(fd >= 0);
	expect(&btf, &none, "CONFIG_DEBUG_INFO_BTF=y");
	btf.external = path;
	copy_file(SONDE_KERNEL_BTF_FILE, fd, 1000);
	expect(&btf, &cut, "the external file is none either");
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	copy_file(SONDE_KERNEL_BTF_FILE, fd, SONDE_KERNEL_BTF_MAX);
	expect(&btf, &whole, NULL);

	/* And the programs are relocated by it. */
	assert_ok(fixture_open(&f, &(struct fixture_options){.btf = btf}));
	fixture_target(&f, getpid(), 1);
	fixture_pair_done(&(struct fixture_pair[]){fixture_pair(AF_INET)}[0]);
	fixture_snapshot(&f);
	assert_true(f.n_cells > 0);
	fixture_close(&f);
	assert_ok(unlink(path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plan_on_trial_loads_once_and_leaves_nothing),
		cmocka_unit_test(what_does_not_fit_falls_through_with_its_reason),
		cmocka_unit_test(trampolines_are_there_if_the_kernel_says_so),
		cmocka_unit_test(maps_take_what_the_plan_says),
		cmocka_unit_test(a_start_that_breaks_off_halfway_leaves_nothing),
		cmocka_unit_test(a_kernel_that_shows_no_btf_needs_a_file_of_it),
	};

	if (fixture_bpf_is_refused())
		return SONDE_EXIT_SKIP;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
