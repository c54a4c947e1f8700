/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Fields: one function a root field of the schema, which gives its whole value. They are
 * found by name in fields.c. Folder-private. Loop thread only.
 */

#include "backend/backend.h"
#include "backend/oap/names.h"

#define GRAPHQL_SUBJECT_MAX 160

/* A root field being answered. */
struct graphql_ask {
	struct sonde_backend *backend;
	const json_t *arguments; /* checked by the schema */
	int64_t now_ms;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC: what is not done by then is refused */
	bool may_wait; /* an answer that would be empty may be held (the topology of a new task) */
	char message[256]; /* why, where -EINVAL is returned */
	/* of a task that is being stored */
	sonde_store_done_fn stored;
	void *stored_ctx;
	char task[SONDE_TASK_ID_MAX];
	/* of a mutation, for the audit log */
	char subject
		[GRAPHQL_SUBJECT_MAX]; /* the task, service or instance that it is about; "" = not known */
	bool unchanged;		       /* it changed nothing */
};

/*
 * Return: 0 (*@ret is a new reference); -EINPROGRESS (a->stored will run, for a->task, "": a policy);
 * -EAGAIN (hold the question, and ask again soon, only where may_wait); -EINVAL with a->message filled; -ENOMEM.
 */
typedef int (*graphql_field_fn)(struct graphql_ask *a, json_t **ret);

/* NULL: none. */
graphql_field_fn graphql_field_find(const char *name);
/* Fills a->message. Returns -EINVAL. */
int graphql_refuse(struct graphql_ask *a, const char *fmt, ...) _printf_(2, 3);
/* *@ret = @value. Return: 0, -ENOMEM where it is NULL. */
int graphql_give(json_t *value, json_t **ret);
/* a->subject = @text, cut where it is too long, and without what would break a line of the log. */
void graphql_set_subject(struct graphql_ask *a, const char *text);
/* The argument "duration". Return: 0, -EINVAL with a->message filled. */
int graphql_get_window(struct graphql_ask *a, struct graphql_window *ret) _must_check_;
const char *graphql_text(const struct graphql_ask *a, const char *argument); /* "" if absent */

/* {"status", "errorReason", "id"} */
json_t *graphql_created(bool status, const char *reason, const char *id);

/* --- fields-server.c --- */
int graphql_version(struct graphql_ask *a, json_t **ret);
int graphql_time_info(struct graphql_ask *a, json_t **ret);
int graphql_health(struct graphql_ask *a, json_t **ret);
int graphql_metrics_ttl(struct graphql_ask *a, json_t **ret);
int graphql_records_ttl(struct graphql_ask *a, json_t **ret);
int graphql_traces_v2(struct graphql_ask *a, json_t **ret);
int graphql_alarms(struct graphql_ask *a, json_t **ret);
int graphql_menu(struct graphql_ask *a, json_t **ret);
int graphql_templates(struct graphql_ask *a, json_t **ret);
int graphql_template(struct graphql_ask *a, json_t **ret);
int graphql_layers(struct graphql_ask *a, json_t **ret);
int graphql_layer_levels(struct graphql_ask *a, json_t **ret);

/* --- templates.c --- */
/*
 * The four dashboards of @layer as rows {id, configuration, updateTime}, appended; of them only the one with the id
 * @only where that is not NULL. Return: 0, -ENOMEM.
 */
int graphql_templates_add(json_t *rows, const char *layer, const char *only) _must_check_;

/* --- fields-inventory.c --- */
int graphql_services(struct graphql_ask *a, json_t **ret);
int graphql_service(struct graphql_ask *a, json_t **ret);
int graphql_find_service(struct graphql_ask *a, json_t **ret);
int graphql_instances(struct graphql_ask *a, json_t **ret);
int graphql_instance(struct graphql_ask *a, json_t **ret);
int graphql_processes(struct graphql_ask *a, json_t **ret);
int graphql_process(struct graphql_ask *a, json_t **ret);
#define GRAPHQL_LAYERS_MAX 32 /* each has a menu item and four dashboards in one answer */
/* Rows of ServiceInstance and Process. New references, NULL when memory ran out. */
json_t *graphql_instance_json(const char *service, const char *instance);
json_t *graphql_process_json(const struct sonde_process *p);
/*
 * Object: a member for each layer that a service is in, the first GRAPHQL_LAYERS_MAX of them. *@ret_left: how many
 * processes are of another one. New reference.
 */
json_t *graphql_layer_set(struct sonde_backend *b, size_t *ret_left);

/* --- fields-task.c --- */
int graphql_tasks(struct graphql_ask *a, json_t **ret);
int graphql_create(struct graphql_ask *a, json_t **ret);
int graphql_prepare(struct graphql_ask *a, json_t **ret);
int graphql_keep(struct graphql_ask *a, json_t **ret);

/* --- fields-policy.c --- */
int graphql_set_policy(struct graphql_ask *a, json_t **ret);
int graphql_policy_targets(struct graphql_ask *a, json_t **ret);
int graphql_policy_instances(struct graphql_ask *a, json_t **ret);

/* --- cover.c --- */
/* A policy's threshold led to it: what OAP calls CONTINUOUS_PROFILING. */
bool graphql_task_by_threshold(const struct sonde_task *t);
#define GRAPHQL_COVER_MAX 16 /* tasks that one question looks into */

/* When it began, or will. */
int64_t graphql_task_start_ms(const struct sonde_task *t);
/* When it is over, or was. */
int64_t graphql_task_end_ms(const struct sonde_task *t);

/*
 * The tasks that overlap @w and have a process of the instance among their targets: those that run, the oldest first,
 * then those that ended, the newest first. Return: how many, at most GRAPHQL_COVER_MAX.
 */
size_t graphql_cover(struct sonde_backend *b, const struct graphql_names *names,
		     const struct graphql_window *w,
		     struct sonde_task *ret[static GRAPHQL_COVER_MAX]);

/* Calls @fn for each process among the task's targets, some perhaps twice. Return: 0, what @fn returned first. */
int graphql_task_processes(struct sonde_backend *b, const struct sonde_task *t,
			   int (*fn)(void *ctx, const struct sonde_entity *e), void *ctx);

/* --- fields-topology.c --- */
int graphql_topology(struct graphql_ask *a, json_t **ret);

/* --- fields-metrics.c --- */
int graphql_expression(struct graphql_ask *a, json_t **ret);
int graphql_records(struct graphql_ask *a, json_t **ret);
