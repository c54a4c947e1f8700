/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "mal/closure.h"

/* One answer of the host. */
struct mal_answer {
	uint32_t what; /* 0 free, else 1 + enum sonde_mal_virtual; POD_SERVICE */
	uint32_t args[3];
	uint32_t answer;
};

#define POD_SERVICE 16U
#define MEMO_MAX (1U << 16) /* slots; beyond that the host is asked each time */

static size_t slot_of(const struct mal_eval *ev, const struct mal_answer *v, size_t cap,
		      uint32_t what, const uint32_t args[static 3])
{
	uint64_t h = ev->strings->seed ^ what;

	for (size_t i = 0; i < 3; i++)
		h = (h ^ args[i]) * 0x9e3779b97f4a7c15ULL;
	for (size_t i = (h >> 32) & (cap - 1);; i = (i + 1) & (cap - 1)) {
		if (!v[i].what ||
		    (v[i].what == what && memcmp(v[i].args, args, sizeof(v[i].args)) == 0))
			return i;
	}
}

static int grow(struct mal_eval *ev)
{
	size_t cap = ev->answers_cap ? ev->answers_cap * 2 : 64;
	struct mal_answer *v = mal_arena_zalloc(&ev->run_arena, cap * sizeof(*v));

	if (!v)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < ev->answers_cap; i++)
		if (ev->answers[i].what)
			v[slot_of(ev, v, cap, ev->answers[i].what, ev->answers[i].args)] =
				ev->answers[i];
	ev->answers = v;
	ev->answers_cap = cap;
	return 0;
}

static bool recall(struct mal_eval *ev, uint32_t what, const uint32_t args[static 3], uint32_t *ret)
{
	size_t i;

	if (ev->answers_cap == 0)
		return false;
	i = slot_of(ev, ev->answers, ev->answers_cap, what, args);
	if (!ev->answers[i].what)
		return false;
	*ret = ev->answers[i].answer;
	return true;
}

static int remember(struct mal_eval *ev, uint32_t what, const uint32_t args[static 3],
		    uint32_t answer)
{
	struct mal_answer *m;
	int r;

	if (ev->answers_n >= MEMO_MAX / 2)
		return 0;
	if (ev->answers_n >= ev->answers_cap / 2) {
		r = grow(ev);
		if (r < 0)
			return r;
	}
	m = &ev->answers[slot_of(ev, ev->answers, ev->answers_cap, what, args)];
	m->what = what;
	memcpy(m->args, args, sizeof(m->args));
	m->answer = answer;
	ev->answers_n++;
	return 0;
}

static const char *text(const struct mal_eval *ev, uint32_t id)
{
	return id == MAL_STR_NULL ? NULL : mal_strings_text(ev->strings, id);
}

static int ask_process(struct mal_eval *ev, enum sonde_mal_virtual kind,
		       const uint32_t args[static 3], char id[static SONDE_MAL_PROCESS_ID_SIZE])
{
	const struct sonde_mal_host *h = ev->host;
	const char *name = text(ev, args[2]);

	if (h && h->virtual_process)
		return h->virtual_process(h->ctx, kind, text(ev, args[0]), text(ev, args[1]), name,
					  id);
	if (kind == SONDE_MAL_VIRTUAL_LOCAL)
		name = SONDE_MAL_UNKNOWN_LOCAL;
	else if (kind == SONDE_MAL_VIRTUAL_REMOTE)
		name = SONDE_MAL_UNKNOWN_REMOTE;
	return sonde_mal_process_id(name, text(ev, args[0]), text(ev, args[1]), id);
}

int mal_host_process(struct mal_eval *ev, enum sonde_mal_virtual kind,
		     const uint32_t args[static 3], uint32_t *ret)
{
	char id[SONDE_MAL_PROCESS_ID_SIZE];
	int r;

	if (ev->need_address && kind != SONDE_MAL_VIRTUAL_LOCAL && args[2] == MAL_STR_NULL)
		return mal_eval_fail(ev, "a process without address or name");
	if (recall(ev, 1 + (uint32_t)kind, args, ret))
		return 0;
	r = ask_process(ev, kind, args, id);
	if (r < 0)
		return mal_eval_fail(ev, "the process registry refused: %s", strerror(-r));
	r = mal_value_intern(ev, id, strnlen(id, sizeof(id) - 1), ret);
	return r < 0 ? r : remember(ev, 1 + (uint32_t)kind, args, *ret);
}

int mal_host_pod_service(struct mal_eval *ev, uint32_t pod, uint32_t name_space, uint32_t *ret)
{
	const uint32_t args[3] = {pod, name_space, 0};
	const struct sonde_mal_host *h = ev->host;
	char name[512];
	int r;

	if (recall(ev, POD_SERVICE, args, ret))
		return 0;
	*ret = MAL_STR_EMPTY;
	if (h && h->pod_service) {
		r = h->pod_service(h->ctx, text(ev, pod), text(ev, name_space), name, sizeof(name));
		if (r >= 0)
			r = mal_value_intern(ev, name, strnlen(name, sizeof(name) - 1), ret);
		else {
			r = r == -ENOENT ? 0
					 : mal_eval_fail(ev, "Kubernetes look-up failed: %s",
							 strerror(-r));
		}
		if (r < 0)
			return r;
	}
	return remember(ev, POD_SERVICE, args, *ret);
}
