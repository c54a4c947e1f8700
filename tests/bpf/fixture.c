/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#define CGROUP2 "/sys/fs/cgroup/unified"
#define CGROUP2_ONLY "/sys/fs/cgroup"
#define KERNEL_BTF "/sys/kernel/btf/vmlinux"

bool fixture_is_emulated(void)
{
	return getenv("SONDE_LAB_KERNEL");
}

size_t fixture_rounds(size_t n)
{
	return fixture_is_emulated() ? (n + 4) / 5 : n;
}

static int raise_nothing(void *ctx, uint64_t caps)
{
	return 0;
}

static void drop_nothing(void *ctx)
{
}

static void note_id(void *ctx, char kind, uint32_t id, const char *tag)
{
	struct fixture *f = ctx;

	if (f->n_ids == FIXTURE_IDS_MAX)
		return;
	f->ids[f->n_ids].kind = kind;
	f->ids[f->n_ids].id = id;
	f->n_ids++;
}

static int keep_cell(struct fixture *f, const struct sonde_probe_cell *cell)
{
	if (cell->index >= FIXTURE_CELLS_MAX)
		return -ENOSPC;
	f->cells[cell->index].known = true;
	f->cells[cell->index].key = cell->key;
	f->cells[cell->index].now = cell->cell;
	if (cell->index >= f->n_cells)
		f->n_cells = cell->index + 1U;
	return 0;
}

static int keep_hist(struct fixture *f, const struct sonde_probe_hist *hist)
{
	struct sonde_tcp_hist *to;

	if (hist->index >= FIXTURE_CELLS_MAX || hist->n > SONDE_PROBE_HIST_CHUNK ||
	    hist->kind >= _SONDE_PROBE_HIST_MAX)
		return -EINVAL;
	to = &f->cells[hist->index].hists[hist->kind];
	for (uint32_t i = 0; i < hist->n; i++) {
		if (hist->pair[i].bucket >= SONDE_HIST_BUCKETS)
			return -EINVAL;
		to->count[hist->pair[i].bucket] = hist->pair[i].count;
	}
	return 0;
}

static int keep_calls(struct fixture *f, const struct sonde_probe_calls *calls)
{
	if (calls->index >= FIXTURE_CELLS_MAX || !f->cells[calls->index].known)
		return -EINVAL;
	f->cells[calls->index].calls = calls->calls;
	return 0;
}

static void keep_probe(struct fixture *f, const struct sonde_probe_probe *probe)
{
	for (size_t i = 0; i < f->n_probes; i++) {
		if (strcmp(f->probes[i].name, probe->name) == 0 &&
		    strcmp(f->probes[i].metrics, probe->metrics) == 0) {
			f->probes[i] = *probe;
			return;
		}
	}
	if (f->n_probes < FIXTURE_PROBES_MAX)
		f->probes[f->n_probes++] = *probe;
}

static int keep_drop(struct fixture *f, const struct sonde_probe_drop *drop)
{
	for (size_t i = 0; i < f->n_drops; i++) {
		if (memcmp(&f->drops[i].key, &drop->key, sizeof(drop->key)) == 0) {
			f->drops[i] = *drop;
			return 0;
		}
	}
	if (f->n_drops == FIXTURE_DROPS_MAX)
		return -ENOSPC;
	f->drops[f->n_drops++] = *drop;
	return 0;
}

static int keep_flows(struct fixture *f, const struct sonde_probe_flow *flows)
{
	if (f->n_flows + flows->n > FIXTURE_FLOWS_MAX)
		return -ENOSPC;
	memcpy(f->flows + f->n_flows, flows->flow, flows->n * sizeof(flows->flow[0]));
	f->n_flows += flows->n;
	return 0;
}

static int keep(void *ctx, struct sonde_probe_reply *reply)
{
	struct fixture *f = ctx;

	switch (reply->type) {
	case SONDE_PROBE_CELL:
		return keep_cell(f, &reply->cell);
	case SONDE_PROBE_HIST:
		return keep_hist(f, &reply->hist);
	case SONDE_PROBE_CALLS:
		return keep_calls(f, &reply->calls);
	case SONDE_PROBE_DROP:
		return keep_drop(f, &reply->drop);
	case SONDE_PROBE_PROCESS:
		if (f->n_processes < FIXTURE_PROCESSES_MAX)
			f->processes[f->n_processes++] = reply->process;
		return 0;
	case SONDE_PROBE_FLOW:
		return keep_flows(f, &reply->flow);
	case SONDE_PROBE_FLOW_REST:
		if (f->n_rests == FIXTURE_RESTS_MAX)
			return -ENOSPC;
		f->rests[f->n_rests++] = reply->flow_rest;
		return 0;
	case SONDE_PROBE_LOSS:
		f->loss = reply->loss;
		return 0;
	case SONDE_PROBE_COST:
		if (f->n_costs < FIXTURE_PROBES_MAX)
			f->costs[f->n_costs++] = reply->cost;
		return 0;
	case SONDE_PROBE_PROBE:
		keep_probe(f, &reply->probe);
		return 0;
	default:
		return -EINVAL;
	}
}

const char *fixture_cgroup_root(void)
{
	return access(CGROUP2 "/cgroup.procs", F_OK) == 0 ? CGROUP2 : CGROUP2_ONLY;
}

static int open_cgroup(const struct fixture_options *options)
{
	if (options->without_sockops)
		return -1;
	return open(options->cgroup ? options->cgroup : fixture_cgroup_root(),
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int fixture_open(struct fixture *f, const struct fixture_options *options)
{
	_cleanup_close_ int cgroup_fd = open_cgroup(options);
	struct sonde_collect_config config = {
		.max_cells = options->max_cells ? options->max_cells : 1024,
		.max_targets = options->max_targets ? options->max_targets : 256,
		.options = options->without_flows ? 0 : SONDE_PROBE_OPTION_FLOWS,
		.signals = options->signals,
		.btf = options->btf,
		.cgroup_fd = cgroup_fd,
		.without = options->without,
		.raise = raise_nothing,
		.drop = drop_nothing,
		.note_id = note_id,
		.ctx = f,
	};
	int r;

	*f = (struct fixture){.cells = calloc(FIXTURE_CELLS_MAX, sizeof(*f->cells)),
			      .flows = calloc(FIXTURE_FLOWS_MAX, sizeof(*f->flows)),
			      .open_flows = 1000};
	if (!f->cells || !f->flows)
		return -ENOMEM;
	if (getenv("SONDE_TEST_DEBUG"))
		sonde_log_set_level(SONDE_LOG_DEBUG);
	r = sonde_collector_tcp.start(&config, (struct sonde_collect_sink){keep, f}, &f->timing,
				      &f->state);
	if (r < 0)
		fixture_close(f);
	return r;
}

void fixture_close(struct fixture *f)
{
	f->state = sonde_collector_tcp.stop(f->state, &f->timing);
	free(f->cells);
	free(f->flows);
	f->cells = NULL;
	f->flows = NULL;
}

static struct fixture shared;

int fixture_setup(void **state)
{
	int r = fixture_open(&shared, &(struct fixture_options){0});

	if (r < 0)
		return r;
	*state = &shared;
	return sonde_collector_tcp.target_add(shared.state, (uint32_t)getpid(), 1);
}

int fixture_teardown(void **state)
{
	fixture_close(&shared);
	return 0;
}

bool fixture_bpf_is_refused(void)
{
	struct fixture f;
	int r = fixture_open(&f, &(struct fixture_options){.max_cells = 16, .max_targets = 16});

	if (r == 0)
		fixture_close(&f);
	if (r < 0)
		(void)fprintf(stderr, "BPF is refused here: %s\n", strerror(-r));
	/* not -EACCES: the verifier says so; nor a core metric that nothing measures: every kernel with BTF has them */
	return r == -EPERM || (r == -EOPNOTSUPP && access(KERNEL_BTF, R_OK) < 0);
}

int fixture_main_(const char *name, const struct CMUnitTest *tests, size_t n)
{
	if (geteuid() != 0 || fixture_bpf_is_refused())
		return SONDE_EXIT_SKIP;
	return _cmocka_run_group_tests(name, tests, n, fixture_setup, fixture_teardown);
}

/* What a group is about, for its only test where that is absent. */
static const char *wanted_metrics, *wanted_less;

static void is_absent_for_a_reason(void **state)
{
	assert_false(fixture_measures(*state, wanted_metrics, wanted_less));
}

static bool lacks(const struct sonde_probe_probe *probe, const char *less)
{
	return less && probe->less[0] && strstr(probe->less, less);
}

static const struct sonde_probe_probe *chosen(const struct fixture *f, const char *metrics)
{
	for (size_t i = 0; i < f->n_probes; i++) {
		if (strcmp(f->probes[i].metrics, metrics) == 0 &&
		    f->probes[i].state == SONDE_PROBE_ATTACHED)
			return &f->probes[i];
	}
	return NULL;
}

/* The first alternative's: why the metric has another one, or none. */
static const char *why_not(const struct fixture *f, const char *metrics)
{
	for (size_t i = 0; i < f->n_probes; i++) {
		if (strcmp(f->probes[i].metrics, metrics) == 0 && f->probes[i].reason[0])
			return f->probes[i].reason;
	}
	return NULL;
}

bool fixture_measures(const struct fixture *f, const char *metrics, const char *less)
{
	const struct sonde_probe_probe *probe = chosen(f, metrics);
	const char *why = why_not(f, metrics);

	if (probe && !lacks(probe, less))
		return true;
	if (!why)
		fail_msg("nothing says why there are no %s", metrics);
	(void)fprintf(stderr, "absent here: %s%s%s: %s\n", metrics, probe ? ", but for " : "",
		      probe ? probe->less : "", why);
	return false;
}

bool fixture_is_measured(const char *metrics, const char *less)
{
	const struct sonde_probe_probe *probe;
	struct fixture f;
	bool measured = true;

	if (fixture_open(&f, &(struct fixture_options){0}) < 0)
		return true; /* the group's set-up says so */
	probe = chosen(&f, metrics);
	measured = probe && !lacks(probe, less);
	fixture_close(&f);
	return measured;
}

int fixture_tell_absent(const char *metrics, const char *less)
{
	static const struct CMUnitTest absent[] = {cmocka_unit_test(is_absent_for_a_reason)};

	wanted_metrics = metrics;
	wanted_less = less;
	return cmocka_run_group_tests(absent, fixture_setup, fixture_teardown);
}

void fixture_target(struct fixture *f, pid_t pid, uint64_t task_mask)
{
	assert_ok(sonde_collector_tcp.target_add(f->state, (uint32_t)pid, task_mask));
}

void fixture_seed(struct fixture *f)
{
	f->timing.seed_ns = f->timing.seeded_sockets = 0;
	assert_ok(sonde_collector_tcp.seed(f->state, &f->timing));
}

void fixture_set_options(struct fixture *f, uint32_t options)
{
	assert_ok(sonde_collector_tcp.set_options(f->state, options,
						  (struct sonde_collect_sink){keep, f}));
}

void fixture_set_signals(struct fixture *f, uint32_t signals)
{
	assert_ok(sonde_collector_tcp.set_signals(f->state, signals,
						  (struct sonde_collect_sink){keep, f}));
}

const struct sonde_probe_probe *fixture_probe(const struct fixture *f, const char *metrics,
					      const char *name)
{
	for (size_t i = 0; i < f->n_probes; i++) {
		if (strcmp(f->probes[i].metrics, metrics) == 0 &&
		    strcmp(f->probes[i].name, name) == 0)
			return &f->probes[i];
	}
	return NULL;
}

void fixture_snapshot(struct fixture *f)
{
	f->n_processes = 0;
	f->n_costs = 0;
	f->n_flows = 0;
	f->n_rests = 0;
	assert_ok(sonde_collector_tcp.snapshot(
		f->state, (struct sonde_collect_sink){keep, f, f->open_flows}));
}

static bool matches(const struct fixture_cell *cell, pid_t pid, enum sonde_tcp_role role,
		    uint16_t port)
{
	return cell->known && cell->key.role == role && cell->key.port == port &&
	       (pid == 0 || cell->key.pid == (uint32_t)pid);
}

struct sonde_tcp_cell fixture_sum(const struct fixture *f, pid_t pid, enum sonde_tcp_role role,
				  uint16_t port)
{
	struct sonde_tcp_cell sum = {0};
	uint64_t *to = (uint64_t *)&sum;

	for (size_t i = 0; i < f->n_cells; i++) {
		const uint64_t *from = (const uint64_t *)&f->cells[i].now;

		if (!matches(&f->cells[i], pid, role, port))
			continue;
		for (size_t j = 0; j < sizeof(sum) / sizeof(uint64_t); j++)
			to[j] += from[j];
	}
	return sum;
}

struct sonde_tcp_calls fixture_calls(const struct fixture *f, pid_t pid, enum sonde_tcp_role role,
				     uint16_t port)
{
	struct sonde_tcp_calls sum = {0};
	uint64_t *to = (uint64_t *)&sum;

	for (size_t i = 0; i < f->n_cells; i++) {
		const uint64_t *from = (const uint64_t *)&f->cells[i].calls;

		if (!matches(&f->cells[i], pid, role, port))
			continue;
		for (size_t j = 0; j < sizeof(sum) / sizeof(uint64_t); j++)
			to[j] += from[j];
	}
	return sum;
}

struct sonde_tcp_hist fixture_call_hist(const struct fixture *f, pid_t pid,
					enum sonde_tcp_role role, uint16_t port,
					enum sonde_tcp_call_hist which)
{
	struct sonde_tcp_hist sum = {0};

	for (size_t i = 0; i < f->n_cells; i++) {
		const struct sonde_tcp_hist *from =
			&f->cells[i].hists[SONDE_PROBE_HIST_CALL + which];

		if (!matches(&f->cells[i], pid, role, port))
			continue;
		for (size_t j = 0; j < SONDE_HIST_BUCKETS; j++)
			sum.count[j] += from->count[j];
	}
	return sum;
}

const struct fixture_cell *fixture_cell(const struct fixture *f, pid_t pid,
					enum sonde_tcp_role role, uint16_t port)
{
	const struct fixture_cell *found = NULL;

	for (size_t i = 0; i < f->n_cells; i++) {
		if (!matches(&f->cells[i], pid, role, port))
			continue;
		assert_null(found);
		found = &f->cells[i];
	}
	return found;
}

const struct sonde_flow *fixture_flow(const struct fixture *f, uint64_t id)
{
	const struct sonde_flow *found = NULL;

	for (size_t i = 0; i < f->n_flows; i++) {
		if (f->flows[i].id != id)
			continue;
		assert_null(found); /* once a snapshot */
		found = &f->flows[i];
	}
	return found;
}

uint64_t fixture_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), 0);
	return cookie;
}

uint64_t fixture_hist_total(const struct sonde_tcp_hist *hist)
{
	uint64_t total = 0;

	for (size_t i = 0; i < SONDE_HIST_BUCKETS; i++)
		total += hist->count[i];
	return total;
}

uint64_t fixture_retransmits(const struct sonde_tcp_cell *cell)
{
	uint64_t total = 0;

	for (size_t i = 0; i < SONDE_TCP_RETRANSMIT_MAX; i++)
		total += cell->retransmit[i];
	return total;
}

uint64_t fixture_loss(const struct fixture *f, enum sonde_tcp_loss site)
{
	return f->loss.count[site];
}

int fixture_map(const struct fixture *f, const char *name)
{
	for (size_t i = 0; i < f->n_ids; i++) {
		struct bpf_map_info info = {0};
		uint32_t size = sizeof(info);
		int fd;

		if (f->ids[i].kind != 'm')
			continue;
		fd = bpf_map_get_fd_by_id(f->ids[i].id);
		assert_true(fd >= 0);
		assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
		if (strlen(info.name) >= strlen(name) &&
		    strcmp(info.name + strlen(info.name) - strlen(name), name) == 0)
			return fd;
		(void)close(fd);
	}
	fail_msg("no map %s", name);
	return -1;
}

static uint32_t offset_of_global(const struct btf *btf, const char *name)
{
	int id = btf__find_by_name_kind(btf, ".bss", BTF_KIND_DATASEC);
	const struct btf_type *section = btf__type_by_id(btf, (uint32_t)id);
	const struct btf_var_secinfo *vars;

	assert_true(id > 0);
	vars = btf_var_secinfos(section);
	for (uint32_t i = 0; i < btf_vlen(section); i++) {
		const struct btf_type *var = btf__type_by_id(btf, vars[i].type);

		if (strcmp(btf__name_by_offset(btf, var->name_off), name) == 0)
			return vars[i].offset;
	}
	fail_msg("no global %s", name);
	return 0;
}

void fixture_set_global(const struct fixture *f, const char *name, uint32_t value)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info), zero = 0;
	int fd = fixture_map(f, ".bss");
	struct btf *btf;
	char *all;

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
	btf = btf__load_from_kernel_by_id(info.btf_id);
	all = calloc(1, info.value_size);
	assert_non_null(btf);
	assert_non_null(all);
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, all), 0);
	memcpy(all + offset_of_global(btf, name), &value, sizeof(value));
	assert_int_equal(bpf_map_update_elem(fd, &zero, all, 0), 0);
	free(all);
	btf__free(btf);
	(void)close(fd);
}

static socklen_t loopback(int family, uint16_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (family == AF_INET) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	v6->sin6_addr = in6addr_loopback;
	return sizeof(*v6);
}

int fixture_bind_anew(int family, const struct sockaddr_storage *any, socklen_t len,
		      uint16_t *ret_port)
{
	static bool had[UINT16_MAX + 1];
	struct sockaddr_storage addr = *any;
	uint16_t port = 0;
	int fd = -1;

	do {
		socklen_t n = sizeof(addr);

		had[port] = true;
		fixture_close_fd(&fd);
		fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_true(fd >= 0);
		assert_int_equal(bind(fd, (const struct sockaddr *)any, len), 0);
		assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &n), 0);
		port = ntohs(family == AF_INET ? ((struct sockaddr_in *)&addr)->sin_port
					       : ((struct sockaddr_in6 *)&addr)->sin6_port);
	} while (had[port]);
	had[port] = true;
	*ret_port = port;
	return fd;
}

int fixture_listen(int family, int backlog, uint16_t *ret_port)
{
	struct sockaddr_storage addr;
	socklen_t len = loopback(family, 0, &addr);
	int fd = fixture_bind_anew(family, &addr, len, ret_port);

	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

int fixture_connect(int family, uint16_t port)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage addr;
	socklen_t len = loopback(family, port, &addr);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, len), 0);
	return fd;
}

int fixture_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

struct fixture_pair fixture_pair(int family)
{
	struct fixture_pair pair;

	pair.listener = fixture_listen(family, 128, &pair.port);
	pair.client = fixture_connect(family, pair.port);
	pair.server = fixture_accept(pair.listener);
	pair.handshake_us = fixture_handshake_us(pair.server);
	return pair;
}

struct fixture_pair fixture_again(const struct fixture_pair *pair)
{
	struct fixture_pair again = {.listener = -1, .port = pair->port};
	struct sockaddr_storage addr = {0};
	socklen_t len = sizeof(addr);

	assert_int_equal(getsockname(pair->listener, (struct sockaddr *)&addr, &len), 0);
	again.client = fixture_connect(addr.ss_family, pair->port);
	again.server = fixture_accept(pair->listener);
	again.handshake_us = fixture_handshake_us(again.server);
	return again;
}

void fixture_close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

void fixture_pair_done(struct fixture_pair *pair)
{
	fixture_close_fd(&pair->client);
	fixture_close_fd(&pair->server);
	fixture_close_fd(&pair->listener);
}

void fixture_abort_on_close(int fd)
{
	struct linger linger = {.l_onoff = 1};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
}

void fixture_send(int fd, size_t n)
{
	static const char bytes[16384];

	while (n > 0) {
		ssize_t r = send(fd, bytes, n < sizeof(bytes) ? n : sizeof(bytes), MSG_NOSIGNAL);

		assert_true(r > 0);
		n -= (size_t)r;
	}
}

void fixture_recv(int fd, size_t n)
{
	char bytes[16384];

	while (n > 0) {
		ssize_t r = recv(fd, bytes, n < sizeof(bytes) ? n : sizeof(bytes), 0);

		assert_true(r > 0);
		n -= (size_t)r;
	}
}

size_t fixture_drain(int fd)
{
	char bytes[16384];
	size_t total = 0;
	ssize_t r;

	while ((r = recv(fd, bytes, sizeof(bytes), 0)) > 0)
		total += (size_t)r;
	return total;
}

uint32_t fixture_handshake_us(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	assert_ok(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
	return info.tcpi_rtt % 1000 == 0 && info.tcpi_total_retrans == 0 ? 0 : info.tcpi_rtt;
}

void fixture_assert_handshakes(const struct sonde_tcp_cell *c, const uint32_t *us, size_t n)
{
	uint64_t known = 0, sum_us = 0;

	for (size_t i = 0; i < n; i++) {
		known += us[i] > 0;
		sum_us += us[i];
	}
	assert_int_equal(c->handshake_count, known);
	assert_int_equal(c->handshake_unknown, n - known);
	assert_int_equal(c->handshake_sum_us, sum_us);
}

uint32_t fixture_total_retrans(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_total_retrans;
}

/* What shows already may be half done, and who does it be preempted: TCP_INFO waits for the socket's lock. */
static void wait_processed(int fd)
{
	(void)fixture_total_retrans(fd);
}

void fixture_wait_acked(int fd)
{
	int queued = 0;

	/* Long: a few retransmission time-outs in a row, each twice as long, are half a minute. */
	for (int i = 0; i < 60000; i++) {
		assert_int_equal(ioctl(fd, SIOCOUTQ, &queued), 0);
		if (queued == 0) {
			wait_processed(fd);
			return;
		}
		fixture_wait_ms(1);
	}
	fail_msg("%d bytes were never acknowledged", queued);
}

void fixture_wait_end(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLRDHUP};

	assert_int_equal(poll(&p, 1, 60000), 1);
	wait_processed(fd);
}

void fixture_wait_queued(int listener)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};

	assert_int_equal(poll(&p, 1, 60000), 1);
}

void fixture_wait_closed(struct fixture *f, enum sonde_tcp_role role, uint16_t port, uint64_t n)
{
	for (unsigned int i = 0; i < 6000; i++) {
		struct sonde_tcp_cell c;
		uint64_t closed = 0;

		fixture_snapshot(f);
		c = fixture_sum(f, 0, role, port);
		for (size_t how = 0; how < SONDE_TCP_CLOSE_MAX; how++)
			closed += c.closed[how];
		if (closed >= n && c.open == 0)
			return;
		fixture_wait_ms(10);
	}
	fail_msg("not within a minute: %u ends closed at port %u", (unsigned int)n, port);
}

void fixture_wait_none_open(struct fixture *f, enum sonde_tcp_role role, uint16_t port)
{
	fixture_wait_closed(f, role, port, 0);
}

void fixture_wait_ms(unsigned int ms)
{
	struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};

	(void)nanosleep(&ts, NULL);
}

bool fixture_run(const char *fmt, ...)
{
	char command[1024];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	assert_true(n > 0 && (size_t)n < sizeof(command));
	return system(command) == 0; /* NOLINT(cert-env33-c): the tests' own words */
}
