# The functions of OpenWrt's rc.common that the init script of qssl-tunnel uses, for a machine that is not a
# router: the shell reads UCI files itself, and calls of procd and the log are written to a file.
#
# Use: sh uci.sh SCRIPT FUNCTION, with CALLS naming the file to write to and UCI the folder of UCI files.
# shellcheck shell=dash

config() {
	sections=$((${sections:-0} + 1))
	config_cb "$1" "${2:-cfg$sections}"
}

option() {
	option_cb "$1" "$2"
}

list() {
	list_cb "$1" "$2"
}

config_load() {
	# shellcheck source=/dev/null
	. "$UCI/$1"
	# A call without arguments marks the end.
	config_cb
}

reset_cb() {
	config_cb() { return 0; }
	option_cb() { return 0; }
	list_cb() { return 0; }
}

write_down() {
	printf '%s\n' "$*" >>"$CALLS"
}

procd_open_instance() { write_down procd_open_instance; }
procd_set_param() { write_down procd_set_param "$@"; }
procd_close_instance() { write_down procd_close_instance; }
procd_add_reload_trigger() { write_down procd_add_reload_trigger "$@"; }
procd_send_signal() { write_down procd_send_signal "$@"; }
procd_running() { [ "${RUNNING:-0}" = 1 ]; }
start() { write_down start; }
stop() { write_down stop; }
logger() { write_down logger "$@"; }

reset_cb
# shellcheck source=/dev/null
. "$1"
"$2"
