/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/finder.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/proc.h"

#define EXE_PENDING_MAX 64 /* of the probe client's 512 */
#define PORTS_MAX 64	   /* of one process that rules look at */

/*
 * The probe reads every descriptor for LISTENERS, 0.2 s where there are 10,000: for
 * the peers' names alone it is asked so seldom that this is 1 % of a core.
 */
#define LISTENERS_REST 99

/* One process of the last scan, named or not. */
struct entry {
	uint32_t pid;
	uint32_t ppid;
	uint64_t start_ticks;
	uint64_t command_hash; /* with the comm: changes at an exec */
	uint64_t exe_hash;     /* of the executable's path; 0 = not known */
	char comm[SONDE_PROC_COMM_MAX];
	bool hidden;   /* by hidepid: what is known comes from the probe */
	bool judged;   /* the rules have seen it */
	bool adopted;  /* named by a task: stays named, after its program if by no rule */
	bool executed; /* it seems to run another program than at the last scan */
	struct sonde_process *process; /* one reference; NULL = no rule names it */
};

struct exe_call {
	struct sonde_finder *f;
	uint32_t pid;
	char path[SONDE_PROBE_PATH_MAX];
	uint64_t start_ticks; /* 0: the probe could not tell */
	char comm[SONDE_PROBE_COMM_MAX];
};

struct listeners {
	struct sonde_probe_listener *list;
	size_t n, cap;
};

/* Of processes.max, SONDE_FINDER_LISTENERS_MAX: told when it is hit after it was not. */
struct limit {
	bool hit; /* by what is being listed */
	bool told;
};

struct sonde_finder {
	struct sonde_finder_config config;
	struct entry *entries; /* ascending by pid */
	size_t n;
	struct listeners listeners; /* whole, of the last answer */
	struct listeners answer;    /* of LISTENERS while it answers */
	uint32_t *pids;		    /* of LIST_PIDS while it answers */
	size_t n_pids;
	size_t next;	/* entry to be judged */
	size_t pending; /* EXE calls */
	/* LISTENERS: when it was asked, and when it may be for tasks alone again */
	uint64_t asked_ns, next_ask_ns;
	bool asking;   /* LISTENERS is under way */
	bool list_due; /* the scan waits for it */
	bool scanning, changed, want_listeners, had_ports, hidden;
	struct limit processes, sockets;
};

static uint64_t hash_text(const char *s)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3ULL;
	return h;
}

static void listeners_done(struct listeners *l)
{
	free(l->list);
	*l = (struct listeners){0};
}

static void entry_done(struct entry *e)
{
	e->process = sonde_process_unref(e->process);
}

int sonde_finder_new(const struct sonde_finder_config *config, struct sonde_finder **ret)
{
	struct sonde_finder *f;

	assert(config && config->rules && config->on_scan && config->max_processes && ret);

	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->config = *config;
	*ret = f;
	return 0;
}

struct sonde_finder *sonde_finder_free(struct sonde_finder *f)
{
	if (!f)
		return NULL;
	assert(f->pending == 0);
	for (size_t i = 0; i < f->n; i++)
		entry_done(&f->entries[i]);
	free(f->entries);
	listeners_done(&f->listeners);
	listeners_done(&f->answer);
	free(f->pids);
	free(f);
	return NULL;
}

static struct entry *find(const struct sonde_finder *f, uint32_t pid)
{
	size_t lo = 0, hi = f->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->entries[mid].pid == pid)
			return &f->entries[mid];
		if (f->entries[mid].pid < pid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* What listens in @pid, as far as known. Returns how many. */
static size_t ports_of(const struct sonde_finder *f, uint32_t pid, uint16_t ports[PORTS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < f->listeners.n && n < PORTS_MAX; i++) {
		if (f->listeners.list[i].pid == pid)
			ports[n++] = f->listeners.list[i].port;
	}
	return n;
}

static bool same_names(const struct sonde_process *a, const struct sonde_process *b)
{
	return strcmp(a->service, b->service) == 0 && strcmp(a->instance, b->instance) == 0 &&
	       strcmp(a->name, b->name) == 0 && strcmp(a->layer, b->layer) == 0;
}

/* Puts @p in the place of what the process was named before, if that was different. */
static void name_entry(struct sonde_finder *f, struct entry *e, struct sonde_process **p)
{
	/* Another program has another command line to be reported at once, under whatever name. */
	if (*p && e->process && same_names(*p, e->process) && !e->executed) {
		memcpy(e->process->command, (*p)->command, sizeof(e->process->command));
		return;
	}
	if (!*p && !e->process)
		return;
	(void)sonde_process_unref(e->process);
	e->process = TAKE_PTR(*p);
	f->changed = true;
}

static void read_facts(const struct sonde_finder *f, const struct entry *e, const char *path,
		       char command[SONDE_PROCESS_COMMAND_MAX], uint16_t ports[PORTS_MAX],
		       struct sonde_rules_facts *ret)
{
	if (sonde_proc_read_cmdline(f->config.proc_fd, e->pid, command, SONDE_PROCESS_COMMAND_MAX,
				    NULL) < 0)
		command[0] = '\0';
	*ret = (struct sonde_rules_facts){
		.pid = e->pid, .executable = path, .comm = e->comm, .command = command};
	ret->ports = ports;
	ret->n_ports = ports_of(f, e->pid, ports);
}

/* After its comm, as when a task first named it: its path is not known then. */
static void adopt_by_comm(const struct sonde_finder *f, const struct sonde_rules_facts *facts,
			  struct sonde_process *p)
{
	struct sonde_rules_facts by_comm = *facts;

	by_comm.executable = "";
	sonde_rules_adopt(f->config.rules, &by_comm, p);
}

/* A program may set its own comm, and some show in it what they do: it is another one in another file alone. */
static void look_at_exe(struct entry *e, const char *path)
{
	const uint64_t exe = path[0] ? hash_text(path) : 0;

	if (exe && exe == e->exe_hash)
		e->executed = false;
	if (exe)
		e->exe_hash = exe;
}

static void judge(struct sonde_finder *f, struct entry *e, const char *path)
{
	_cleanup_(sonde_process_unrefp) struct sonde_process *p = NULL;
	char command[SONDE_PROCESS_COMMAND_MAX];
	struct sonde_rules_facts facts;
	uint16_t ports[PORTS_MAX];

	e->judged = true;
	look_at_exe(e, path);
	if ((e->adopted && !e->executed) || sonde_process_new(e->pid, e->start_ticks, &p) < 0)
		return;
	read_facts(f, e, path, command, ports, &facts);
	if (!(f->config.name && f->config.name(f->config.ctx, e->pid, p)) &&
	    !sonde_rules_apply(f->config.rules, &facts, p)) {
		if (e->adopted)
			adopt_by_comm(f, &facts, p);
		else
			p = sonde_process_unref(p);
	}
	name_entry(f, e, &p);
	e->executed = false;
}

static void go_on(struct sonde_finder *f);

static void on_exe(void *ctx, const struct sonde_probe_reply *reply)
{
	struct exe_call *c = ctx;

	if (reply->type != SONDE_PROBE_EXE_PATH)
		return;
	(void)snprintf(c->path, sizeof(c->path), "%s", reply->exe.path);
	(void)snprintf(c->comm, sizeof(c->comm), "%s", reply->exe.comm);
	c->start_ticks = reply->exe.start_ticks;
}

/* Who it is, by the probe's word; another one than before under the same number has no name yet. */
static void reveal(struct sonde_finder *f, struct entry *e, const struct exe_call *c)
{
	if (e->process && e->start_ticks != c->start_ticks) {
		e->process = sonde_process_unref(e->process);
		e->adopted = false;
		f->changed = true;
	}
	e->executed = e->executed || (e->comm[0] && strcmp(e->comm, c->comm) != 0);
	e->start_ticks = c->start_ticks;
	(void)snprintf(e->comm, sizeof(e->comm), "%s", c->comm);
}

static void on_exe_end(void *ctx, int error, const struct sonde_probe_end *end)
{
	_cleanup_free_ struct exe_call *c = ctx;
	struct sonde_finder *f = c->f;
	struct entry *e;

	f->pending--;
	if (error == -ECANCELED) /* the client is being freed */
		return;
	e = find(f, c->pid);
	if (e && e->hidden)
		reveal(f, e, c);
	if (e && !e->judged)
		judge(f, e, c->path);
	go_on(f);
}

/* Return: 0 = its path is under way, else it must be judged without. */
static int ask_exe(struct sonde_finder *f, uint32_t pid)
{
	const struct sonde_probe_request q = {.type = SONDE_PROBE_EXE, .pid = pid};
	struct exe_call *c;
	int r;

	if (!f->config.probe)
		return -ENOTCONN;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->f = f;
	c->pid = pid;
	r = sonde_probe_client_request(f->config.probe, &q, 0,
				       (struct sonde_probe_call){on_exe, on_exe_end, c});
	if (r < 0) {
		free(c);
		return r;
	}
	f->pending++;
	return 0;
}

/* Judges what is left, a few at a time; ends the scan behind the last. */
static void go_on(struct sonde_finder *f)
{
	bool changed;

	while (f->scanning && f->next < f->n && f->pending < EXE_PENDING_MAX) {
		struct entry *e = &f->entries[f->next++];

		if (e->judged)
			continue;
		if (ask_exe(f, e->pid) == 0)
			continue;
		judge(f, e, "");
	}
	if (!f->scanning || f->pending || f->next < f->n)
		return;
	f->scanning = false;
	/* What a task adopted between two scans is told with the later one. */
	changed = f->changed;
	f->changed = false;
	f->config.on_scan(f->config.ctx, changed);
}

/* Is it one that the rules can name: not a zombie, not a kernel thread? */
static bool read_entry(struct sonde_finder *f, uint32_t pid, struct entry *ret)
{
	char command[SONDE_PROCESS_COMMAND_MAX] = "";
	struct sonde_proc_stat s;
	int r;

	*ret = (struct entry){.pid = pid};
	r = sonde_proc_read_stat(f->config.proc_fd, pid, &s);
	if (r == 0) {
		if (s.state == 'Z' || s.state == 'X' || s.kernel_thread)
			return false;
		ret->ppid = s.ppid;
		ret->start_ticks = s.start_ticks;
		memcpy(ret->comm, s.comm, sizeof(ret->comm));
	} else if (f->n_pids == 0) {
		return false; /* gone; under hidepid the probe's word that it lives is enough */
	} else {
		ret->hidden = true;
	}
	if (sonde_proc_read_cmdline(f->config.proc_fd, pid, command, sizeof(command), NULL) < 0)
		command[0] = '\0';
	ret->command_hash = hash_text(command) ^ hash_text(ret->comm);
	return true;
}

static int compare_pids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* What is known of it stays known, unless it is another process or another program now. */
static void carry_over(struct sonde_finder *f, struct entry *e, bool judge_again)
{
	struct entry *old = find(f, e->pid);

	if (old && e->hidden) { /* is it the same one? the probe will say: reveal() */
		e->start_ticks = old->start_ticks;
		memcpy(e->comm, old->comm, sizeof(e->comm));
		judge_again = true;
	}
	if (!old || old->start_ticks != e->start_ticks)
		return;
	e->process = TAKE_PTR(old->process);
	e->adopted = old->adopted;
	e->exe_hash = old->exe_hash;
	/* A program may write its own command line; the comm is what an exec sets, and look_at_exe() looks closer. */
	e->executed = old->executed || strcmp(old->comm, e->comm) != 0;
	e->judged = old->judged && old->command_hash == e->command_hash && !judge_again;
}

static int take_pids(struct sonde_finder *f, uint32_t *pids, size_t n)
{
	struct entry *entries;
	size_t kept = 0;

	entries = calloc(n ? n : 1, sizeof(entries[0]));
	if (!entries)
		return -ENOMEM;
	if (n)
		qsort(pids, n, sizeof(pids[0]), compare_pids);
	for (size_t i = 0; i < n; i++) {
		if (i && pids[i] == pids[i - 1])
			continue;
		if (!read_entry(f, pids[i], &entries[kept]))
			continue;
		/* Ports come and go without an exec: such rules look again each time. */
		carry_over(f, &entries[kept], f->had_ports);
		kept++;
	}
	for (size_t i = 0; i < f->n; i++) {
		f->changed = f->changed || f->entries[i].process; /* not carried over: gone */
		entry_done(&f->entries[i]);
	}
	free(f->entries);
	f->entries = entries;
	f->n = kept;
	f->next = 0;
	return 0;
}

static bool is_news(struct limit *l)
{
	bool news = l->hit && !l->told;

	*l = (struct limit){.told = l->hit};
	return news;
}

static void end_of_list(struct sonde_finder *f, uint32_t *pids, size_t n)
{
	if (take_pids(f, pids, n) < 0) {
		f->scanning = false; /* what was known stays */
		return;
	}
	if (is_news(&f->processes))
		(void)sonde_log_warn(0,
				     "there are more processes than processes.max (%zu): the rest "
				     "is not looked at",
				     f->config.max_processes);
	go_on(f);
}

static void on_pids(void *ctx, const struct sonde_probe_reply *reply)
{
	struct sonde_finder *f = ctx;
	uint32_t n;
	uint32_t *p;

	if (reply->type != SONDE_PROBE_PID)
		return;
	n = reply->pids.n;
	if (n > ELEMENTS_OF(reply->pids.pid))
		n = ELEMENTS_OF(reply->pids.pid);
	if (n > f->config.max_processes - f->n_pids) {
		n = (uint32_t)(f->config.max_processes - f->n_pids);
		f->processes.hit = true;
	}
	p = n ? reallocarray(f->pids, f->n_pids + n, sizeof(*p)) : NULL;
	if (!p)
		return;
	memcpy(p + f->n_pids, reply->pids.pid, n * sizeof(*p));
	f->pids = p;
	f->n_pids += n;
}

static void on_pids_end(void *ctx, int error, const struct sonde_probe_end *end)
{
	struct sonde_finder *f = ctx;

	if (error == -ECANCELED)
		return;
	if (error < 0)
		f->scanning = false;
	else
		end_of_list(f, f->pids, f->n_pids);
	free(f->pids);
	f->pids = NULL;
	f->n_pids = 0;
}

/* hidepid shows nobody else's: then pid 1 cannot be read. */
static bool pids_are_hidden(const struct sonde_finder *f)
{
	struct sonde_proc_stat s;

	return sonde_proc_read_stat(f->config.proc_fd, 1, &s) < 0;
}

static int list(struct sonde_finder *f)
{
	_cleanup_free_ uint32_t *pids = NULL;
	size_t n = 0;
	int r;

	f->hidden = f->config.probe && pids_are_hidden(f);
	if (f->hidden) {
		const struct sonde_probe_request q = {.type = SONDE_PROBE_LIST_PIDS};

		if (sonde_probe_client_request(
			    f->config.probe, &q, 0,
			    (struct sonde_probe_call){on_pids, on_pids_end, f}) == 0)
			return 0;
	}
	r = sonde_proc_list(f->config.proc_fd, f->config.max_processes, &pids, &n);
	if (r == -ENOSPC)
		f->processes.hit = true;
	else if (r < 0)
		return r;
	end_of_list(f, pids, n);
	return 0;
}

static void on_listener(void *ctx, const struct sonde_probe_reply *reply)
{
	struct sonde_finder *f = ctx;
	struct listeners *l = &f->answer;

	if (reply->type != SONDE_PROBE_LISTENER)
		return;
	if (l->n == SONDE_FINDER_LISTENERS_MAX) {
		f->sockets.hit = true;
		return;
	}
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 32;
		struct sonde_probe_listener *p = reallocarray(l->list, cap, sizeof(*p));

		if (!p)
			return;
		l->list = p;
		l->cap = cap;
	}
	l->list[l->n++] = reply->listener;
}

static bool listeners_are_wanted(const struct sonde_finder *f)
{
	return f->want_listeners || sonde_rules_want_ports(f->config.rules);
}

static void on_listeners_end(void *ctx, int error, const struct sonde_probe_end *end)
{
	uint64_t now_ns = sonde_mono_ns();
	struct sonde_finder *f = ctx;

	f->asking = false;
	if (error == -ECANCELED)
		return;
	f->next_ask_ns = now_ns + LISTENERS_REST * (now_ns - f->asked_ns);
	if (is_news(&f->sockets))
		(void)sonde_log_warn(0,
				     "more than %d sockets listen: a peer at one of the rest keeps "
				     "its address for a name",
				     SONDE_FINDER_LISTENERS_MAX);
	/* At once: a peer is not to lose its name while the next answer comes in. */
	if (error == 0 && listeners_are_wanted(f)) {
		listeners_done(&f->listeners);
		f->listeners = f->answer;
		f->answer = (struct listeners){0};
	}
	listeners_done(&f->answer);
	if (!f->list_due)
		return;
	f->list_due = false;
	if (list(f) < 0)
		f->scanning = false;
}

/* Return: 0 (also when it is under way), -errno. */
static int ask_listeners(struct sonde_finder *f)
{
	const struct sonde_probe_request q = {.type = SONDE_PROBE_LISTENERS};
	int r;

	if (f->asking)
		return 0;
	f->asked_ns = sonde_mono_ns();
	r = sonde_probe_client_request(f->config.probe, &q, 0,
				       (struct sonde_probe_call){on_listener, on_listeners_end, f});
	f->asking = r == 0;
	return r;
}

static bool listeners_are_due(const struct sonde_finder *f)
{
	if (!f->config.probe)
		return false;
	return f->had_ports || (f->want_listeners && sonde_mono_ns() >= f->next_ask_ns);
}

int sonde_finder_scan(struct sonde_finder *f)
{
	int r;

	assert(f);

	if (f->scanning || f->pending)
		return 0;
	f->scanning = true;
	f->had_ports = sonde_rules_want_ports(f->config.rules);
	if (listeners_are_due(f) && ask_listeners(f) == 0) {
		f->list_due = true;
		return 0;
	}
	r = list(f);
	if (r < 0)
		f->scanning = false;
	return r;
}

void sonde_finder_want_listeners(struct sonde_finder *f, bool want)
{
	bool first;

	assert(f);

	first = want && !f->want_listeners;
	f->want_listeners = want;
	f->next_ask_ns = 0;
	/* Before the first report: what it called by an address, the next would call by a name. */
	if (first && f->config.probe)
		(void)ask_listeners(f);
	if (!listeners_are_wanted(f))
		listeners_done(&f->listeners); /* nothing is kept for tasks that are over */
}

struct sonde_process *sonde_finder_next(const struct sonde_finder *f, size_t *cursor)
{
	assert(f && cursor);

	while (*cursor < f->n) {
		struct sonde_process *p = f->entries[(*cursor)++].process;

		if (p)
			return p;
	}
	return NULL;
}

struct sonde_process *sonde_finder_by_pid(const struct sonde_finder *f, uint32_t pid)
{
	const struct entry *e;

	assert(f);

	e = find(f, pid);
	return e ? e->process : NULL;
}

static int insert(struct sonde_finder *f, const struct entry *e, struct entry **ret)
{
	struct entry *p;
	size_t at = 0;

	if (f->n == f->config.max_processes)
		return -ENOSPC;
	p = reallocarray(f->entries, f->n + 1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	f->entries = p;
	while (at < f->n && p[at].pid < e->pid)
		at++;
	memmove(&p[at + 1], &p[at], (f->n - at) * sizeof(*p));
	p[at] = *e;
	f->n++;
	if (f->next > at)
		f->next++;
	*ret = &p[at];
	return 0;
}

int sonde_finder_adopt(struct sonde_finder *f, uint32_t pid, struct sonde_process **ret)
{
	_cleanup_(sonde_process_unrefp) struct sonde_process *p = NULL;
	char command[SONDE_PROCESS_COMMAND_MAX];
	struct sonde_rules_facts facts;
	uint16_t ports[PORTS_MAX];
	struct entry *e, now;
	int r;

	assert(f && ret);

	if (!read_entry(f, pid, &now))
		return -ESRCH;
	e = find(f, pid);
	if (e && e->start_ticks != now.start_ticks)
		return -EAGAIN; /* another process under this pid: the next scan sees it */
	if (!e) {
		r = insert(f, &now, &e);
		if (r < 0)
			return r;
	}
	if (!e->process) {
		r = sonde_process_new(pid, e->start_ticks, &p);
		if (r < 0)
			return r;
		read_facts(f, e, "", command, ports, &facts);
		adopt_by_comm(f, &facts, p);
		name_entry(f, e, &p);
		e->adopted = true;
	}
	e->judged = true;
	*ret = e->process;
	return 0;
}

const struct sonde_probe_listener *sonde_finder_listeners(const struct sonde_finder *f,
							  size_t *ret_n)
{
	assert(f && ret_n);

	*ret_n = f->listeners.n;
	return f->listeners.list;
}

bool sonde_finder_hidden(const struct sonde_finder *f)
{
	assert(f);

	return f->hidden;
}
