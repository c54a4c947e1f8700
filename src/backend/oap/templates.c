/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four dashboards a layer, in the form that SkyWalking's UI stores its own: services, instances, network profiling of
 * an instance, and one edge: what SkyWalking's metrics tell of it and, before all else, retransmits, drops and RTT.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/oap/fields.h"
#include "base/buf.h"

#define WIDTH 24 /* columns of a page */
#define CHART_WIDTH 6
#define CHART_HEIGHT 11
#define NAME_MAX_BYTES 128
#define EXPRESSIONS_MAX 3

/*
 * A chart is made for each end of the edge; '@' stands for its role, client or server. An expression has either one
 * line, which has the label's name, or a line for each value of one label of the metric: the UI names lines by that alone.
 */
struct chart {
	const char *title, *unit;
	struct {
		const char *expression, *label;
	} lines[EXPRESSIONS_MAX];
};

#define OF(metric) "sonde_net_" metric "{role='@'}"
#define ONE(metric) "aggregate_labels(" OF(metric) ",sum)"
#define BY(metric, label) "aggregate_labels(" OF(metric) ",sum(" label "))"

static const struct chart charts[] = {
	{"Retransmits by kind", "segments / min", {{BY("retransmits_total", "kind"), NULL}}},
	{"Retransmitted of sent segments",
	 "%",
	 {{ONE("retransmitted_segments_total") "/" ONE("sent_segments_total") "*100",
	   "retransmitted"}}},
	{"Drops on receive by reason",
	 "segments / min",
	 {{BY("receive_dropped_segments_total", "reason"), NULL}}},
	{"Drops on transmit by reason",
	 "segments / min",
	 {{BY("transmit_dropped_segments_total", "reason"), NULL}}},
	{"RTT, percentiles", "us", {{"aggregate_labels(" OF("rtt_microseconds") ",max(p))", NULL}}},
	{"RTT, smoothed and smallest",
	 "us",
	 {{"aggregate_labels(" OF("smoothed_rtt_microseconds") ",avg)", "smoothed"},
	  {"aggregate_labels(" OF("rtt_min_microseconds") ",min)", "smallest"}}},
	{"Handshake, percentiles",
	 "us",
	 {{"aggregate_labels(" OF("handshake_microseconds") ",max(p))", NULL}}},
	{"Bytes",
	 "bytes / min",
	 {{ONE("sent_bytes_total"), "sent"}, {ONE("received_bytes_total"), "received"}}},
	{"Connections",
	 "per min",
	 {{ONE("connections_opened_total"), "opened"},
	  {ONE("connections_accepted_total"), "accepted"},
	  {ONE("connect_failures_total"), "failed"}}},
	{"Resets",
	 "per min",
	 {{ONE("resets_sent_total"), "sent"}, {ONE("resets_received_total"), "received"}}},
	{"Limited by",
	 "us / min",
	 {{ONE("receive_window_limited_microseconds_total"), "receive window"},
	  {ONE("send_buffer_limited_microseconds_total"), "send buffer"},
	  {ONE("application_limited_microseconds_total"), "application"}}},
	{"Calls",
	 "calls / min",
	 {{"process_relation_@_write_cpm", "write"}, {"process_relation_@_read_cpm", "read"}}},
	{"Mean time of a call",
	 "ms",
	 {{"process_relation_@_write_avg_exe_time/1000000", "write"},
	  {"process_relation_@_read_avg_exe_time/1000000", "read"}}},
};

/* @text with the role in the place of each '@'. */
static json_t *for_role(const char *text, const char *role)
{
	_cleanup_buf_ struct sonde_buf b = SONDE_BUF_INIT(1024);
	int r = 0;

	for (; *text && r == 0; text++)
		r = *text == '@' ? sonde_buf_append(&b, role, strlen(role))
				 : sonde_buf_append(&b, text, 1);
	return r == 0 ? json_string(sonde_buf_str(&b)) : NULL;
}

static int add_lines(const struct chart *c, const char *role, json_t *expressions, json_t *config)
{
	for (size_t i = 0; i < EXPRESSIONS_MAX && c->lines[i].expression; i++) {
		if (json_array_append_new(expressions, for_role(c->lines[i].expression, role)) <
			    0 ||
		    json_array_append_new(config, json_pack("{s:s, s:s*}", "unit", c->unit, "label",
							    c->lines[i].label)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static json_t *chart_json(const struct chart *c, const char *role, size_t place)
{
	_cleanup_json_ json_t *expressions = json_array(), *config = json_array();
	_cleanup_json_ json_t *title = json_sprintf("%s (%s)", c->title, role);
	size_t column = place % (WIDTH / CHART_WIDTH), row = place / (WIDTH / CHART_WIDTH);
	char index[16];

	if (!expressions || !config || !title || add_lines(c, role, expressions, config) < 0)
		return NULL;
	(void)snprintf(index, sizeof(index), "%zu", place);
	return json_pack("{s:i, s:i, s:i, s:i, s:s, s:s, s:O, s:O, s:{s:O},"
			 " s:{s:s, s:b, s:b, s:b, s:b, s:b, s:{s:b}}}",
			 "x", (int)(column * CHART_WIDTH), "y", (int)(row * CHART_HEIGHT), "w",
			 CHART_WIDTH, "h", CHART_HEIGHT, "i", index, "type", "Widget",
			 "expressions", expressions, "metricConfig", config, "widget", "title",
			 title, "graph", "type", "Line", "step", 0, "smooth", 0, "showSymbol", 1,
			 "showXAxis", 1, "showYAxis", 1, "legend", "show", 1);
}

static json_t *charts_json(void)
{
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; list && i < ELEMENTS_OF(charts); i++) {
		if (sonde_json_append(list, chart_json(&charts[i], "client", 2 * i)) < 0 ||
		    sonde_json_append(list, chart_json(&charts[i], "server", 2 * i + 1)) < 0)
			return NULL;
	}
	return json_incref(list);
}

/* The one widget of a page that is a list, which opens the page @dashboard. */
static json_t *list_json(const char *type, const char *dashboard)
{
	return json_pack("[{s:i, s:i, s:i, s:i, s:s, s:s, s:[], s:[], s:{s:s, s:s, s:i}}]", "x", 0,
			 "y", 0, "w", WIDTH, "h", 50, "i", "0", "type", "Widget", "expressions",
			 "metricConfig", "graph", "type", type, "dashboardName", dashboard,
			 "fontSize", 12);
}

static json_t *profiling_json(const char *dashboard)
{
	return json_pack("[{s:i, s:i, s:i, s:i, s:s, s:s, s:s}]", "x", 0, "y", 0, "w", WIDTH, "h",
			 48, "i", "0", "type", "NetworkProfiling", "linkDashboard", dashboard);
}

struct page {
	const char *name, *entity;
	bool root, standard;
};

/* @children: stolen. */
static int add_page(json_t *rows, const char *layer, const struct page *page, json_t *children)
{
	_cleanup_json_ json_t *c =
		json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:o}", "id", page->name, "name",
			  page->name, "layer", layer, "entity", page->entity, "isRoot",
			  (int)page->root, "isDefault", (int)page->standard, "children", children);
	_cleanup_free_ char *text = NULL;

	/* Where the menu's item leads. */
	if (c && page->root &&
	    json_object_set_new(c, "path",
				strcmp(layer, "K8S_SERVICE") == 0
					? json_string("/Kubernetes/Service")
					: json_sprintf("/%s/Service", layer)) < 0)
		return -ENOMEM;
	text = c ? json_dumps(c, JSON_COMPACT) : NULL;
	if (!text)
		return -ENOMEM;
	return sonde_json_append(rows, json_pack("{s:s, s:s, s:i}", "id", page->name,
						 "configuration", text, "updateTime", 0));
}

int graphql_templates_add(json_t *rows, const char *layer, const char *only)
{
	static const char *const words[] = {"Root", "Service", "Instance", "Edge"};
	char names[ELEMENTS_OF(words)][NAME_MAX_BYTES];
	bool wanted[ELEMENTS_OF(words)];
	int r = 0;

	for (size_t i = 0; i < ELEMENTS_OF(words); i++) {
		(void)snprintf(names[i], sizeof(names[i]), "Sonde-%.64s-%s", layer, words[i]);
		wanted[i] = !only || strcmp(only, names[i]) == 0;
	}
	if (wanted[0])
		r = add_page(rows, layer, &(struct page){names[0], "All", true, false},
			     list_json("ServiceList", names[1]));
	if (r == 0 && wanted[1])
		r = add_page(rows, layer, &(struct page){names[1], "Service", false, true},
			     list_json("InstanceList", names[2]));
	if (r == 0 && wanted[2])
		r = add_page(rows, layer, &(struct page){names[2], "ServiceInstance", false, true},
			     profiling_json(names[3]));
	if (r == 0 && wanted[3])
		r = add_page(rows, layer, &(struct page){names[3], "ProcessRelation", false, false},
			     charts_json());
	return r;
}
