# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_qssl_tunnel_global_optspecs
    string join \n h/help V/version
end

function __fish_qssl_tunnel_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_qssl_tunnel_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_qssl_tunnel_using_subcommand
    set -l cmd (__fish_qssl_tunnel_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c qssl-tunnel -n "__fish_qssl_tunnel_needs_command" -s h -l help -d 'Print help'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_needs_command" -s V -l version -d 'Print version'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_needs_command" -f -a "listen" -d 'Listen locally and connect every client to a TLS server through the modem'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_needs_command" -f -a "connect" -d 'Connect standard input and output to a TLS server through the modem'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_needs_command" -f -a "run" -d 'Run the tunnels of a configuration file'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_needs_command" -f -a "status" -d 'Show the state of a running daemon and its modem'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_needs_command" -f -a "at" -d 'Send one AT command to the modem, between the commands of a running daemon'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_needs_command" -f -a "doctor" -d 'Find out why a modem does not connect, step by step'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_needs_command" -f -a "survey" -d 'Measure the module at hand, and write what was found to a module file'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_needs_command" -f -a "cert" -d 'Manage the certificates and keys that are stored in the modem'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_needs_command" -f -a "demo" -d 'Show a verified transfer through the embedded modem and a local TLS server'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l to -d 'Server that the modem connects to: HOST:PORT with TLS, tcp://HOST:PORT without; needed unless --dynamic is given' -r -f -a "(__fish_print_hostnames)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l dynamic -d 'Let each client name its own target, in this protocol, instead of --to' -r -f -a "socks5\t'SOCKS5 (RFC 1928)'
http\t'HTTP CONNECT (RFC 9110)'
auto\t'whichever of these a client speaks'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l allow-target -d 'A target that clients may choose: example.org:443, \'*.example.org:80,443\' or \'*:443\'; may be repeated' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l proxy-user-file -d 'File with the users of the proxy, a line USER:PASSWORD each; without it, anyone who can connect may use it' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l mode -d 'How the modem hands over what it receives [default: push]' -r -f -a "buffer\t'the module keeps received bytes until they are read (mode 0)'
push\t'the module sends received bytes as they come (mode 1)'
transparent\t'the port becomes the stream of one connection (mode 2)'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -s w -l connect-timeout -d 'How long opening a connection may take, TLS handshake included [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -s t -l half-close-timeout -d 'How long a reply may go on after the client\'s half-close, from its last byte [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -s T -l idle-timeout -d 'Reset a connection that has carried no data for this long [default: off, 60s for datagrams]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l lifetime -d 'Reset a connection that is this old [default: off]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l close-timeout -d 'How long the modem may take to close a connection, 0-65535 whole seconds [default: 10s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l on-closed -d 'How the end of a connection is passed on when the modem reports `closed` [default: eof]' -r -f -a "eof\t'as an end of file, unless something known contradicts it'
reset\t'as a reset'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l allow -d 'Serve clients from this network only; may be repeated or separated by commas [default: all]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l max-clients -d 'Serve at most this many clients of the tunnel at once, waiting ones included [default: no limit]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l when-full -d 'What happens to a new client when all connections of the modem are in use [default: wait]' -r -f -a "wait\t'it waits'
reset\t'it is reset'
evict\t'the datagram session that has been idle longest ends, if there is one, else it waits'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l queue-timeout -d 'How long a client waits for a free connection [default: 30s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l stall-timeout -d 'How long a client may hold up the others by not reading [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l open-on -d 'When the modem\'s connection is opened [default: accept]' -r -f -a "accept\t'when the client is accepted'
first-byte\t'when the client has sent its first byte'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l first-byte-timeout -d 'Reset a client that has sent nothing by then [default: off]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l warm -d 'Keep this many connections open ahead, 0-11: the next clients get them at once [default: 0]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l warm-max-age -d 'How old a connection that was opened ahead may become before it is replaced [default: 50s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l ca -d 'Authenticate the server against this certificate authority; may be repeated [default: system]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l cert -d 'Client certificate, PEM; needs --key' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l key -d 'Private key of the client certificate, PEM; needs --cert' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l key-password-file -d 'File with the password of an encrypted --key' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l tls-version -d 'TLS version; with dtls:// one of 1.0, 1.2 and any [default: 1.2]' -r -f -a "ssl3\t'SSL 3.0, long broken'
1.0\t'TLS 1.0'
1.1\t'TLS 1.1'
1.2\t'TLS 1.2'
any\t'whichever of these the server takes'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l cipher -d 'The one cipher suite to offer, by registered name or code, or any [default: any]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l alpn -d 'Application protocol to ask for (ALPN), 1-255 characters' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l psk-identity -d 'Identity of a pre-shared key, 1-255 characters; needs --psk-key-file' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l psk-key-file -d 'File with the pre-shared key, 1-255 characters; needs --psk-identity' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l ignore-certificate -d 'Switch off one check of the server\'s certificate; may be repeated or separated by commas' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -s d -l device -d 'Port of the modem; may be repeated for several ports of one modem [default: auto]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -s b -l baud -d 'Speed of a UART in bits per second; USB ports ignore it [default: 115200]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l flow-control -d 'Flow control on the serial line [default: rtscts on UARTs]' -r -f -a "rtscts\t'RTS/CTS on both sides (CRTSCTS and AT+IFC=2,2)'
none\t'off on both sides (AT+IFC=0,0)'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l cmux -d 'Several channels on one UART (CMUX, 3GPP TS 27.010) [default: off]' -r -f -a "auto\t'on a UART, if the modem lists AT+CMUX and several channels are useful'
on\t'unless the modem refuses it (AT+CMUX)'
off\t'never'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l cmux-frame -d 'Bytes of payload in a CMUX frame, between 64 and 1509 [default: 512, or 127 if the modem refuses it]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l sockets -d 'Connections of the modem (clientID) that may be used, such as 0-5,7 [default: 0-11]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l ssl-contexts -d 'SSL contexts of the modem that may be used, such as 1,3-5 [default: 0-5]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l sim-pin-file -d 'File with the PIN of the SIM, 4-8 digits; not tried again if refused' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l apn -d 'Access point name [default: the modem\'s setting]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l apn-user -d 'User name at the access point; needs --apn' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l apn-password-file -d 'File with the password at the access point; needs --apn-user' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l apn-auth -d 'How user name and password are sent [default: pap with --apn-user, else none]' -r -f -a "none\t'no user and password'
pap\t'user and password in clear'
chap\t'challenge and response'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l pdp-context -d 'Number of the data session (PDP context), 1-16 [default: 1]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l pdp-type -d 'Addresses of the data session; needs --apn [default: ipv4]' -r -f -a "ipv4\t'IPv4 alone'
ipv6\t'IPv6 alone'
ipv4v6\t'both'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l dns -d 'Name server for the modem, one or two separated by a comma [default: the network\'s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l ntp -d 'Set the modem\'s clock from this NTP server [default: from this machine\'s clock]' -r -f -a "(__fish_print_hostnames)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l recovery -d 'How far recovery from a fault may go [default: session]' -r -f -a "resync\t'drain and resynchronise the conversation'
port\t'close the port and open it again'
session\t'rebuild the data session'
reboot\t'reboot the modem, which also interrupts other programs that use it'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l reset-command -d 'Run this command when nothing else brings the modem back, such as a command that cycles its power' -r -f -a "(__fish_complete_command)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l reset-after -d 'Run --reset-command also when the modem\'s port has been away for this long; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l poll-interval -d 'In buffer mode, read a silent connection this often; 0 is never [default: 5s where it is not certain which of the modem\'s ports is in use, else never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l retry-for -d 'Give up when the modem has been unusable for this long [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l max-retries -d 'Give up after this many further attempts [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l liveness-interval -d 'How often an idle modem is asked whether it still answers; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l command-timeout -d 'How long the modem may take to answer an ordinary command [default: 5s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l send-timeout -d 'How long the modem may take to confirm the bytes of a send command [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l shutdown-timeout -d 'How long connections may still run after SIGTERM or SIGINT; a second signal ends them at once [default: 30s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l control -d 'Make the control socket here, or none' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l state-directory -d 'Keep data usage and flight recordings in this directory; by default run uses $STATE_DIRECTORY' -r -f -a "(__fish_complete_directories)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l metrics -d 'Serve metrics for Prometheus over HTTP: PORT (loopback), ADDRESS:PORT or unix:/PATH' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l monthly-budget -d 'Warn when this much has been carried in a calendar month, or stop: 500MB, 2GB,stop' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -s r -l record-up -d 'Record what clients send in FILE, raw' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -s R -l record-down -d 'Record what servers send in FILE, raw' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l dynamic-tls -d 'Connect to the targets by the modem\'s TLS, with the TLS options, instead of plain TCP'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l warm-server-first -d 'Keep what the server sends on a connection opened ahead, up to 4096 bytes, for its client'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l insecure -d 'Do not authenticate the server: anyone on the way can read and alter everything'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l sni -d 'Send the server the host name (SNI); an error if the module cannot [default: if the module can]'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l no-sni -d 'Do not send the server the host name (SNI)'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l session-resumption -d 'Resume earlier TLS sessions, which saves most of the handshake'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l renegotiation -d 'Allow TLS renegotiation'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l check-time -d 'Check the validity dates of certificates [default: unless --insecure]'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l no-check-time -d 'Do not check the validity dates of certificates'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l ignore-chain -d 'Do not verify certificate chains of more than one level'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l ignore-signature -d 'Do not verify the signatures of certificates'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l radio -d 'Ask the modem about its cell, one question a minute when it has nothing else to do'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l radio-identity -d 'The same as --radio; and show which cell and which modem it is (IMEI)'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l no-wait -d 'Give up at the first failure instead of waiting for device, SIM and network'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -s x -l hex-dump -d 'Print the traffic of clients in hexadecimal to standard error'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -l no-sandbox -d 'Do without the sandbox that the process enters after its start, where the kernel has Landlock'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -s v -l verbose -d 'Log commands and answers; if given twice, the whole transcript without payload'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -s q -l quiet -d 'Log warnings and errors only'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand listen" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l mode -d 'How the modem hands over what it receives [default: push]' -r -f -a "buffer\t'the module keeps received bytes until they are read (mode 0)'
push\t'the module sends received bytes as they come (mode 1)'
transparent\t'the port becomes the stream of one connection (mode 2)'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -s w -l connect-timeout -d 'How long opening a connection may take, TLS handshake included [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -s t -l half-close-timeout -d 'How long a reply may go on after the client\'s half-close, from its last byte [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -s T -l idle-timeout -d 'Reset a connection that has carried no data for this long [default: off, 60s for datagrams]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l lifetime -d 'Reset a connection that is this old [default: off]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l close-timeout -d 'How long the modem may take to close a connection, 0-65535 whole seconds [default: 10s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l on-closed -d 'How the end of a connection is passed on when the modem reports `closed` [default: eof]' -r -f -a "eof\t'as an end of file, unless something known contradicts it'
reset\t'as a reset'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l ca -d 'Authenticate the server against this certificate authority; may be repeated [default: system]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l cert -d 'Client certificate, PEM; needs --key' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l key -d 'Private key of the client certificate, PEM; needs --cert' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l key-password-file -d 'File with the password of an encrypted --key' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l tls-version -d 'TLS version; with dtls:// one of 1.0, 1.2 and any [default: 1.2]' -r -f -a "ssl3\t'SSL 3.0, long broken'
1.0\t'TLS 1.0'
1.1\t'TLS 1.1'
1.2\t'TLS 1.2'
any\t'whichever of these the server takes'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l cipher -d 'The one cipher suite to offer, by registered name or code, or any [default: any]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l alpn -d 'Application protocol to ask for (ALPN), 1-255 characters' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l psk-identity -d 'Identity of a pre-shared key, 1-255 characters; needs --psk-key-file' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l psk-key-file -d 'File with the pre-shared key, 1-255 characters; needs --psk-identity' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l ignore-certificate -d 'Switch off one check of the server\'s certificate; may be repeated or separated by commas' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -s d -l device -d 'Port of the modem; may be repeated for several ports of one modem [default: auto]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -s b -l baud -d 'Speed of a UART in bits per second; USB ports ignore it [default: 115200]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l flow-control -d 'Flow control on the serial line [default: rtscts on UARTs]' -r -f -a "rtscts\t'RTS/CTS on both sides (CRTSCTS and AT+IFC=2,2)'
none\t'off on both sides (AT+IFC=0,0)'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l cmux -d 'Several channels on one UART (CMUX, 3GPP TS 27.010) [default: off]' -r -f -a "auto\t'on a UART, if the modem lists AT+CMUX and several channels are useful'
on\t'unless the modem refuses it (AT+CMUX)'
off\t'never'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l cmux-frame -d 'Bytes of payload in a CMUX frame, between 64 and 1509 [default: 512, or 127 if the modem refuses it]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l sockets -d 'Connections of the modem (clientID) that may be used, such as 0-5,7 [default: 0-11]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l ssl-contexts -d 'SSL contexts of the modem that may be used, such as 1,3-5 [default: 0-5]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l sim-pin-file -d 'File with the PIN of the SIM, 4-8 digits; not tried again if refused' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l apn -d 'Access point name [default: the modem\'s setting]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l apn-user -d 'User name at the access point; needs --apn' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l apn-password-file -d 'File with the password at the access point; needs --apn-user' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l apn-auth -d 'How user name and password are sent [default: pap with --apn-user, else none]' -r -f -a "none\t'no user and password'
pap\t'user and password in clear'
chap\t'challenge and response'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l pdp-context -d 'Number of the data session (PDP context), 1-16 [default: 1]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l pdp-type -d 'Addresses of the data session; needs --apn [default: ipv4]' -r -f -a "ipv4\t'IPv4 alone'
ipv6\t'IPv6 alone'
ipv4v6\t'both'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l dns -d 'Name server for the modem, one or two separated by a comma [default: the network\'s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l ntp -d 'Set the modem\'s clock from this NTP server [default: from this machine\'s clock]' -r -f -a "(__fish_print_hostnames)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l recovery -d 'How far recovery from a fault may go [default: session]' -r -f -a "resync\t'drain and resynchronise the conversation'
port\t'close the port and open it again'
session\t'rebuild the data session'
reboot\t'reboot the modem, which also interrupts other programs that use it'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l reset-command -d 'Run this command when nothing else brings the modem back, such as a command that cycles its power' -r -f -a "(__fish_complete_command)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l reset-after -d 'Run --reset-command also when the modem\'s port has been away for this long; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l poll-interval -d 'In buffer mode, read a silent connection this often; 0 is never [default: 5s where it is not certain which of the modem\'s ports is in use, else never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l retry-for -d 'Give up when the modem has been unusable for this long [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l max-retries -d 'Give up after this many further attempts [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l liveness-interval -d 'How often an idle modem is asked whether it still answers; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l command-timeout -d 'How long the modem may take to answer an ordinary command [default: 5s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l send-timeout -d 'How long the modem may take to confirm the bytes of a send command [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l shutdown-timeout -d 'How long connections may still run after SIGTERM or SIGINT; a second signal ends them at once [default: 30s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l control -d 'Make the control socket here, or none' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l state-directory -d 'Keep data usage and flight recordings in this directory; by default run uses $STATE_DIRECTORY' -r -f -a "(__fish_complete_directories)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l metrics -d 'Serve metrics for Prometheus over HTTP: PORT (loopback), ADDRESS:PORT or unix:/PATH' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l monthly-budget -d 'Warn when this much has been carried in a calendar month, or stop: 500MB, 2GB,stop' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -s r -l record-up -d 'Record what clients send in FILE, raw' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -s R -l record-down -d 'Record what servers send in FILE, raw' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l insecure -d 'Do not authenticate the server: anyone on the way can read and alter everything'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l sni -d 'Send the server the host name (SNI); an error if the module cannot [default: if the module can]'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l no-sni -d 'Do not send the server the host name (SNI)'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l session-resumption -d 'Resume earlier TLS sessions, which saves most of the handshake'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l renegotiation -d 'Allow TLS renegotiation'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l check-time -d 'Check the validity dates of certificates [default: unless --insecure]'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l no-check-time -d 'Do not check the validity dates of certificates'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l ignore-chain -d 'Do not verify certificate chains of more than one level'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l ignore-signature -d 'Do not verify the signatures of certificates'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l radio -d 'Ask the modem about its cell, one question a minute when it has nothing else to do'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l radio-identity -d 'The same as --radio; and show which cell and which modem it is (IMEI)'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l no-wait -d 'Give up at the first failure instead of waiting for device, SIM and network'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -s x -l hex-dump -d 'Print the traffic of clients in hexadecimal to standard error'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -l no-sandbox -d 'Do without the sandbox that the process enters after its start, where the kernel has Landlock'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -s v -l verbose -d 'Log commands and answers; if given twice, the whole transcript without payload'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -s q -l quiet -d 'Log warnings and errors only'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand connect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l config -d 'Configuration file, see qssl-tunnel.toml(5) [default: /etc/qssl-tunnel.toml]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -s d -l device -d 'Port of the modem; may be repeated for several ports of one modem [default: auto]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -s b -l baud -d 'Speed of a UART in bits per second; USB ports ignore it [default: 115200]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l flow-control -d 'Flow control on the serial line [default: rtscts on UARTs]' -r -f -a "rtscts\t'RTS/CTS on both sides (CRTSCTS and AT+IFC=2,2)'
none\t'off on both sides (AT+IFC=0,0)'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l cmux -d 'Several channels on one UART (CMUX, 3GPP TS 27.010) [default: off]' -r -f -a "auto\t'on a UART, if the modem lists AT+CMUX and several channels are useful'
on\t'unless the modem refuses it (AT+CMUX)'
off\t'never'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l cmux-frame -d 'Bytes of payload in a CMUX frame, between 64 and 1509 [default: 512, or 127 if the modem refuses it]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l sockets -d 'Connections of the modem (clientID) that may be used, such as 0-5,7 [default: 0-11]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l ssl-contexts -d 'SSL contexts of the modem that may be used, such as 1,3-5 [default: 0-5]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l sim-pin-file -d 'File with the PIN of the SIM, 4-8 digits; not tried again if refused' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l apn -d 'Access point name [default: the modem\'s setting]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l apn-user -d 'User name at the access point; needs --apn' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l apn-password-file -d 'File with the password at the access point; needs --apn-user' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l apn-auth -d 'How user name and password are sent [default: pap with --apn-user, else none]' -r -f -a "none\t'no user and password'
pap\t'user and password in clear'
chap\t'challenge and response'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l pdp-context -d 'Number of the data session (PDP context), 1-16 [default: 1]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l pdp-type -d 'Addresses of the data session; needs --apn [default: ipv4]' -r -f -a "ipv4\t'IPv4 alone'
ipv6\t'IPv6 alone'
ipv4v6\t'both'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l dns -d 'Name server for the modem, one or two separated by a comma [default: the network\'s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l ntp -d 'Set the modem\'s clock from this NTP server [default: from this machine\'s clock]' -r -f -a "(__fish_print_hostnames)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l recovery -d 'How far recovery from a fault may go [default: session]' -r -f -a "resync\t'drain and resynchronise the conversation'
port\t'close the port and open it again'
session\t'rebuild the data session'
reboot\t'reboot the modem, which also interrupts other programs that use it'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l reset-command -d 'Run this command when nothing else brings the modem back, such as a command that cycles its power' -r -f -a "(__fish_complete_command)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l reset-after -d 'Run --reset-command also when the modem\'s port has been away for this long; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l poll-interval -d 'In buffer mode, read a silent connection this often; 0 is never [default: 5s where it is not certain which of the modem\'s ports is in use, else never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l retry-for -d 'Give up when the modem has been unusable for this long [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l max-retries -d 'Give up after this many further attempts [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l liveness-interval -d 'How often an idle modem is asked whether it still answers; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l command-timeout -d 'How long the modem may take to answer an ordinary command [default: 5s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l send-timeout -d 'How long the modem may take to confirm the bytes of a send command [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l shutdown-timeout -d 'How long connections may still run after SIGTERM or SIGINT; a second signal ends them at once [default: 30s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l control -d 'Make the control socket here, or none' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l state-directory -d 'Keep data usage and flight recordings in this directory; by default run uses $STATE_DIRECTORY' -r -f -a "(__fish_complete_directories)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l metrics -d 'Serve metrics for Prometheus over HTTP: PORT (loopback), ADDRESS:PORT or unix:/PATH' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l monthly-budget -d 'Warn when this much has been carried in a calendar month, or stop: 500MB, 2GB,stop' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -s r -l record-up -d 'Record what clients send in FILE, raw' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -s R -l record-down -d 'Record what servers send in FILE, raw' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l check -d 'Check the configuration, print what is in effect, and end'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l radio -d 'Ask the modem about its cell, one question a minute when it has nothing else to do'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l radio-identity -d 'The same as --radio; and show which cell and which modem it is (IMEI)'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l no-wait -d 'Give up at the first failure instead of waiting for device, SIM and network'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -s x -l hex-dump -d 'Print the traffic of clients in hexadecimal to standard error'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -l no-sandbox -d 'Do without the sandbox that the process enters after its start, where the kernel has Landlock'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -s v -l verbose -d 'Log commands and answers; if given twice, the whole transcript without payload'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -s q -l quiet -d 'Log warnings and errors only'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l kill -d 'Reset the connection with this ID, as the table shows it' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l dump-recorder -d 'Write the daemon\'s flight recording to FILE instead: the latest traffic on the modem\'s port' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l record-payload -d 'From now on record the bytes of payload (true), or only their number (false)' -r -f -a "true\t''
false\t''"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l control -d 'Control socket of the daemon to ask, or none: open the port [default: the running daemon\'s, if there is one]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -s d -l device -d 'Port of the modem; may be repeated for several ports of one modem [default: auto]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -s b -l baud -d 'Speed of a UART in bits per second; USB ports ignore it [default: 115200]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l flow-control -d 'Flow control on the serial line [default: rtscts on UARTs]' -r -f -a "rtscts\t'RTS/CTS on both sides (CRTSCTS and AT+IFC=2,2)'
none\t'off on both sides (AT+IFC=0,0)'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l cmux -d 'Several channels on one UART (CMUX, 3GPP TS 27.010) [default: off]' -r -f -a "auto\t'on a UART, if the modem lists AT+CMUX and several channels are useful'
on\t'unless the modem refuses it (AT+CMUX)'
off\t'never'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l cmux-frame -d 'Bytes of payload in a CMUX frame, between 64 and 1509 [default: 512, or 127 if the modem refuses it]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l sockets -d 'Connections of the modem (clientID) that may be used, such as 0-5,7 [default: 0-11]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l ssl-contexts -d 'SSL contexts of the modem that may be used, such as 1,3-5 [default: 0-5]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l sim-pin-file -d 'File with the PIN of the SIM, 4-8 digits; not tried again if refused' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l apn -d 'Access point name [default: the modem\'s setting]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l apn-user -d 'User name at the access point; needs --apn' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l apn-password-file -d 'File with the password at the access point; needs --apn-user' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l apn-auth -d 'How user name and password are sent [default: pap with --apn-user, else none]' -r -f -a "none\t'no user and password'
pap\t'user and password in clear'
chap\t'challenge and response'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l pdp-context -d 'Number of the data session (PDP context), 1-16 [default: 1]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l pdp-type -d 'Addresses of the data session; needs --apn [default: ipv4]' -r -f -a "ipv4\t'IPv4 alone'
ipv6\t'IPv6 alone'
ipv4v6\t'both'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l dns -d 'Name server for the modem, one or two separated by a comma [default: the network\'s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l ntp -d 'Set the modem\'s clock from this NTP server [default: from this machine\'s clock]' -r -f -a "(__fish_print_hostnames)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l recovery -d 'How far recovery from a fault may go [default: session]' -r -f -a "resync\t'drain and resynchronise the conversation'
port\t'close the port and open it again'
session\t'rebuild the data session'
reboot\t'reboot the modem, which also interrupts other programs that use it'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l reset-command -d 'Run this command when nothing else brings the modem back, such as a command that cycles its power' -r -f -a "(__fish_complete_command)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l reset-after -d 'Run --reset-command also when the modem\'s port has been away for this long; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l poll-interval -d 'In buffer mode, read a silent connection this often; 0 is never [default: 5s where it is not certain which of the modem\'s ports is in use, else never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l retry-for -d 'Give up when the modem has been unusable for this long [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l max-retries -d 'Give up after this many further attempts [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l liveness-interval -d 'How often an idle modem is asked whether it still answers; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l command-timeout -d 'How long the modem may take to answer an ordinary command [default: 5s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l send-timeout -d 'How long the modem may take to confirm the bytes of a send command [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l json -d 'Print JSON'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l prometheus -d 'Print metrics for Prometheus'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l watch -d 'Show the status again and again, with rates; on a terminal as a screen with keys'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l exit-code -d 'Also fail unless the daemon serves clients: the health check of a container'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l radio -d 'Ask the modem about its cell, one question a minute when it has nothing else to do'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l radio-identity -d 'The same as --radio; and show which cell and which modem it is (IMEI)'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -l no-wait -d 'Give up at the first failure instead of waiting for device, SIM and network'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -s v -l verbose -d 'Log commands and answers; if given twice, the whole transcript without payload'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -s q -l quiet -d 'Log warnings and errors only'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l timeout -d 'How long the modem may take to answer, 1s-600s; 0 is 600s [default: 5s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l control -d 'Control socket of the daemon to ask, or none: open the port [default: the running daemon\'s, if there is one]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l modem -d 'Which modem, by its name, where the daemon or the configuration has several' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -s d -l device -d 'Port of the modem; may be repeated for several ports of one modem [default: auto]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -s b -l baud -d 'Speed of a UART in bits per second; USB ports ignore it [default: 115200]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l flow-control -d 'Flow control on the serial line [default: rtscts on UARTs]' -r -f -a "rtscts\t'RTS/CTS on both sides (CRTSCTS and AT+IFC=2,2)'
none\t'off on both sides (AT+IFC=0,0)'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l cmux -d 'Several channels on one UART (CMUX, 3GPP TS 27.010) [default: off]' -r -f -a "auto\t'on a UART, if the modem lists AT+CMUX and several channels are useful'
on\t'unless the modem refuses it (AT+CMUX)'
off\t'never'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l cmux-frame -d 'Bytes of payload in a CMUX frame, between 64 and 1509 [default: 512, or 127 if the modem refuses it]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l sockets -d 'Connections of the modem (clientID) that may be used, such as 0-5,7 [default: 0-11]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l ssl-contexts -d 'SSL contexts of the modem that may be used, such as 1,3-5 [default: 0-5]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l sim-pin-file -d 'File with the PIN of the SIM, 4-8 digits; not tried again if refused' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l apn -d 'Access point name [default: the modem\'s setting]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l apn-user -d 'User name at the access point; needs --apn' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l apn-password-file -d 'File with the password at the access point; needs --apn-user' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l apn-auth -d 'How user name and password are sent [default: pap with --apn-user, else none]' -r -f -a "none\t'no user and password'
pap\t'user and password in clear'
chap\t'challenge and response'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l pdp-context -d 'Number of the data session (PDP context), 1-16 [default: 1]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l pdp-type -d 'Addresses of the data session; needs --apn [default: ipv4]' -r -f -a "ipv4\t'IPv4 alone'
ipv6\t'IPv6 alone'
ipv4v6\t'both'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l dns -d 'Name server for the modem, one or two separated by a comma [default: the network\'s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l ntp -d 'Set the modem\'s clock from this NTP server [default: from this machine\'s clock]' -r -f -a "(__fish_print_hostnames)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l recovery -d 'How far recovery from a fault may go [default: session]' -r -f -a "resync\t'drain and resynchronise the conversation'
port\t'close the port and open it again'
session\t'rebuild the data session'
reboot\t'reboot the modem, which also interrupts other programs that use it'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l reset-command -d 'Run this command when nothing else brings the modem back, such as a command that cycles its power' -r -f -a "(__fish_complete_command)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l reset-after -d 'Run --reset-command also when the modem\'s port has been away for this long; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l poll-interval -d 'In buffer mode, read a silent connection this often; 0 is never [default: 5s where it is not certain which of the modem\'s ports is in use, else never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l retry-for -d 'Give up when the modem has been unusable for this long [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l max-retries -d 'Give up after this many further attempts [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l liveness-interval -d 'How often an idle modem is asked whether it still answers; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l command-timeout -d 'How long the modem may take to answer an ordinary command [default: 5s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l send-timeout -d 'How long the modem may take to confirm the bytes of a send command [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l force -d 'Send the command even if it is not known to be a mere query, with or without a daemon'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l radio -d 'Ask the modem about its cell, one question a minute when it has nothing else to do'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l radio-identity -d 'The same as --radio; and show which cell and which modem it is (IMEI)'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -l no-wait -d 'Give up at the first failure instead of waiting for device, SIM and network'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -s v -l verbose -d 'Log commands and answers; if given twice, the whole transcript without payload'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -s q -l quiet -d 'Log warnings and errors only'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand at" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l config -d 'Configuration file of run with the settings of the modem, and of the tunnel to HOST:PORT' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -s w -l connect-timeout -d 'How long opening a connection may take, TLS handshake included [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l control -d 'Control socket of the daemon to ask, or none: open the port [default: the running daemon\'s, if there is one]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l modem -d 'Which modem, by its name, where the daemon or the configuration has several' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l ca -d 'Authenticate the server against this certificate authority; may be repeated [default: system]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l cert -d 'Client certificate, PEM; needs --key' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l key -d 'Private key of the client certificate, PEM; needs --cert' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l key-password-file -d 'File with the password of an encrypted --key' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l tls-version -d 'TLS version; with dtls:// one of 1.0, 1.2 and any [default: 1.2]' -r -f -a "ssl3\t'SSL 3.0, long broken'
1.0\t'TLS 1.0'
1.1\t'TLS 1.1'
1.2\t'TLS 1.2'
any\t'whichever of these the server takes'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l cipher -d 'The one cipher suite to offer, by registered name or code, or any [default: any]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l alpn -d 'Application protocol to ask for (ALPN), 1-255 characters' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l psk-identity -d 'Identity of a pre-shared key, 1-255 characters; needs --psk-key-file' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l psk-key-file -d 'File with the pre-shared key, 1-255 characters; needs --psk-identity' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l ignore-certificate -d 'Switch off one check of the server\'s certificate; may be repeated or separated by commas' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -s d -l device -d 'Port of the modem; may be repeated for several ports of one modem [default: auto]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -s b -l baud -d 'Speed of a UART in bits per second; USB ports ignore it [default: 115200]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l flow-control -d 'Flow control on the serial line [default: rtscts on UARTs]' -r -f -a "rtscts\t'RTS/CTS on both sides (CRTSCTS and AT+IFC=2,2)'
none\t'off on both sides (AT+IFC=0,0)'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l cmux -d 'Several channels on one UART (CMUX, 3GPP TS 27.010) [default: off]' -r -f -a "auto\t'on a UART, if the modem lists AT+CMUX and several channels are useful'
on\t'unless the modem refuses it (AT+CMUX)'
off\t'never'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l cmux-frame -d 'Bytes of payload in a CMUX frame, between 64 and 1509 [default: 512, or 127 if the modem refuses it]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l sockets -d 'Connections of the modem (clientID) that may be used, such as 0-5,7 [default: 0-11]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l ssl-contexts -d 'SSL contexts of the modem that may be used, such as 1,3-5 [default: 0-5]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l sim-pin-file -d 'File with the PIN of the SIM, 4-8 digits; not tried again if refused' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l apn -d 'Access point name [default: the modem\'s setting]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l apn-user -d 'User name at the access point; needs --apn' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l apn-password-file -d 'File with the password at the access point; needs --apn-user' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l apn-auth -d 'How user name and password are sent [default: pap with --apn-user, else none]' -r -f -a "none\t'no user and password'
pap\t'user and password in clear'
chap\t'challenge and response'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l pdp-context -d 'Number of the data session (PDP context), 1-16 [default: 1]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l pdp-type -d 'Addresses of the data session; needs --apn [default: ipv4]' -r -f -a "ipv4\t'IPv4 alone'
ipv6\t'IPv6 alone'
ipv4v6\t'both'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l dns -d 'Name server for the modem, one or two separated by a comma [default: the network\'s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l ntp -d 'Set the modem\'s clock from this NTP server [default: from this machine\'s clock]' -r -f -a "(__fish_print_hostnames)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l recovery -d 'How far recovery from a fault may go [default: session]' -r -f -a "resync\t'drain and resynchronise the conversation'
port\t'close the port and open it again'
session\t'rebuild the data session'
reboot\t'reboot the modem, which also interrupts other programs that use it'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l reset-command -d 'Run this command when nothing else brings the modem back, such as a command that cycles its power' -r -f -a "(__fish_complete_command)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l reset-after -d 'Run --reset-command also when the modem\'s port has been away for this long; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l poll-interval -d 'In buffer mode, read a silent connection this often; 0 is never [default: 5s where it is not certain which of the modem\'s ports is in use, else never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l retry-for -d 'Give up when the modem has been unusable for this long [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l max-retries -d 'Give up after this many further attempts [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l liveness-interval -d 'How often an idle modem is asked whether it still answers; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l command-timeout -d 'How long the modem may take to answer an ordinary command [default: 5s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l send-timeout -d 'How long the modem may take to confirm the bytes of a send command [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l json -d 'Print the findings as JSON'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l insecure -d 'Do not authenticate the server: anyone on the way can read and alter everything'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l sni -d 'Send the server the host name (SNI); an error if the module cannot [default: if the module can]'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l no-sni -d 'Do not send the server the host name (SNI)'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l session-resumption -d 'Resume earlier TLS sessions, which saves most of the handshake'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l renegotiation -d 'Allow TLS renegotiation'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l check-time -d 'Check the validity dates of certificates [default: unless --insecure]'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l no-check-time -d 'Do not check the validity dates of certificates'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l ignore-chain -d 'Do not verify certificate chains of more than one level'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l ignore-signature -d 'Do not verify the signatures of certificates'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l radio -d 'Ask the modem about its cell, one question a minute when it has nothing else to do'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l radio-identity -d 'The same as --radio; and show which cell and which modem it is (IMEI)'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -l no-wait -d 'Give up at the first failure instead of waiting for device, SIM and network'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -s v -l verbose -d 'Log commands and answers; if given twice, the whole transcript without payload'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -s q -l quiet -d 'Log warnings and errors only'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -s o -l output -d 'The module file to write, or - for standard output; the dialogue goes beside it, as .txt' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l budget -d 'The most data that the connections may cost, such as 300kB [default: 1MB]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l ca -d 'Certificate of the authority that has signed the server\'s, in PEM, to try what the module verifies' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l control -d 'Control socket of the daemon to ask, or none: open the port [default: the running daemon\'s, if there is one]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l modem -d 'Which modem, by its name, where the daemon or the configuration has several' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -s d -l device -d 'Port of the modem; may be repeated for several ports of one modem [default: auto]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -s b -l baud -d 'Speed of a UART in bits per second; USB ports ignore it [default: 115200]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l flow-control -d 'Flow control on the serial line [default: rtscts on UARTs]' -r -f -a "rtscts\t'RTS/CTS on both sides (CRTSCTS and AT+IFC=2,2)'
none\t'off on both sides (AT+IFC=0,0)'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l cmux -d 'Several channels on one UART (CMUX, 3GPP TS 27.010) [default: off]' -r -f -a "auto\t'on a UART, if the modem lists AT+CMUX and several channels are useful'
on\t'unless the modem refuses it (AT+CMUX)'
off\t'never'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l cmux-frame -d 'Bytes of payload in a CMUX frame, between 64 and 1509 [default: 512, or 127 if the modem refuses it]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l sockets -d 'Connections of the modem (clientID) that may be used, such as 0-5,7 [default: 0-11]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l ssl-contexts -d 'SSL contexts of the modem that may be used, such as 1,3-5 [default: 0-5]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l sim-pin-file -d 'File with the PIN of the SIM, 4-8 digits; not tried again if refused' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l apn -d 'Access point name [default: the modem\'s setting]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l apn-user -d 'User name at the access point; needs --apn' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l apn-password-file -d 'File with the password at the access point; needs --apn-user' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l apn-auth -d 'How user name and password are sent [default: pap with --apn-user, else none]' -r -f -a "none\t'no user and password'
pap\t'user and password in clear'
chap\t'challenge and response'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l pdp-context -d 'Number of the data session (PDP context), 1-16 [default: 1]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l pdp-type -d 'Addresses of the data session; needs --apn [default: ipv4]' -r -f -a "ipv4\t'IPv4 alone'
ipv6\t'IPv6 alone'
ipv4v6\t'both'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l dns -d 'Name server for the modem, one or two separated by a comma [default: the network\'s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l ntp -d 'Set the modem\'s clock from this NTP server [default: from this machine\'s clock]' -r -f -a "(__fish_print_hostnames)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l recovery -d 'How far recovery from a fault may go [default: session]' -r -f -a "resync\t'drain and resynchronise the conversation'
port\t'close the port and open it again'
session\t'rebuild the data session'
reboot\t'reboot the modem, which also interrupts other programs that use it'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l reset-command -d 'Run this command when nothing else brings the modem back, such as a command that cycles its power' -r -f -a "(__fish_complete_command)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l reset-after -d 'Run --reset-command also when the modem\'s port has been away for this long; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l poll-interval -d 'In buffer mode, read a silent connection this often; 0 is never [default: 5s where it is not certain which of the modem\'s ports is in use, else never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l retry-for -d 'Give up when the modem has been unusable for this long [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l max-retries -d 'Give up after this many further attempts [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l liveness-interval -d 'How often an idle modem is asked whether it still answers; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l command-timeout -d 'How long the modem may take to answer an ordinary command [default: 5s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l send-timeout -d 'How long the modem may take to confirm the bytes of a send command [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l radio -d 'Ask the modem about its cell, one question a minute when it has nothing else to do'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l radio-identity -d 'The same as --radio; and show which cell and which modem it is (IMEI)'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -l no-wait -d 'Give up at the first failure instead of waiting for device, SIM and network'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -s v -l verbose -d 'Log commands and answers; if given twice, the whole transcript without payload'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -s q -l quiet -d 'Log warnings and errors only'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand survey" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l key -d 'For check: the private key that should belong to the certificate' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -s o -l output -d 'For get: write to FILE instead of standard output' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l config -d 'For list and prune: the configuration with the tunnels that use the files [default: /etc/qssl-tunnel.toml]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l control -d 'Control socket of the daemon to ask, or none: open the port [default: the running daemon\'s, if there is one]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l modem -d 'Which modem, by its name, where the daemon or the configuration has several' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -s d -l device -d 'Port of the modem; may be repeated for several ports of one modem [default: auto]' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -s b -l baud -d 'Speed of a UART in bits per second; USB ports ignore it [default: 115200]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l flow-control -d 'Flow control on the serial line [default: rtscts on UARTs]' -r -f -a "rtscts\t'RTS/CTS on both sides (CRTSCTS and AT+IFC=2,2)'
none\t'off on both sides (AT+IFC=0,0)'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l cmux -d 'Several channels on one UART (CMUX, 3GPP TS 27.010) [default: off]' -r -f -a "auto\t'on a UART, if the modem lists AT+CMUX and several channels are useful'
on\t'unless the modem refuses it (AT+CMUX)'
off\t'never'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l cmux-frame -d 'Bytes of payload in a CMUX frame, between 64 and 1509 [default: 512, or 127 if the modem refuses it]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l sockets -d 'Connections of the modem (clientID) that may be used, such as 0-5,7 [default: 0-11]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l ssl-contexts -d 'SSL contexts of the modem that may be used, such as 1,3-5 [default: 0-5]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l sim-pin-file -d 'File with the PIN of the SIM, 4-8 digits; not tried again if refused' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l apn -d 'Access point name [default: the modem\'s setting]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l apn-user -d 'User name at the access point; needs --apn' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l apn-password-file -d 'File with the password at the access point; needs --apn-user' -r -F
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l apn-auth -d 'How user name and password are sent [default: pap with --apn-user, else none]' -r -f -a "none\t'no user and password'
pap\t'user and password in clear'
chap\t'challenge and response'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l pdp-context -d 'Number of the data session (PDP context), 1-16 [default: 1]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l pdp-type -d 'Addresses of the data session; needs --apn [default: ipv4]' -r -f -a "ipv4\t'IPv4 alone'
ipv6\t'IPv6 alone'
ipv4v6\t'both'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l dns -d 'Name server for the modem, one or two separated by a comma [default: the network\'s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l ntp -d 'Set the modem\'s clock from this NTP server [default: from this machine\'s clock]' -r -f -a "(__fish_print_hostnames)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l recovery -d 'How far recovery from a fault may go [default: session]' -r -f -a "resync\t'drain and resynchronise the conversation'
port\t'close the port and open it again'
session\t'rebuild the data session'
reboot\t'reboot the modem, which also interrupts other programs that use it'"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l reset-command -d 'Run this command when nothing else brings the modem back, such as a command that cycles its power' -r -f -a "(__fish_complete_command)"
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l reset-after -d 'Run --reset-command also when the modem\'s port has been away for this long; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l poll-interval -d 'In buffer mode, read a silent connection this often; 0 is never [default: 5s where it is not certain which of the modem\'s ports is in use, else never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l retry-for -d 'Give up when the modem has been unusable for this long [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l max-retries -d 'Give up after this many further attempts [default: never]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l liveness-interval -d 'How often an idle modem is asked whether it still answers; 0 is never [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l command-timeout -d 'How long the modem may take to answer an ordinary command [default: 5s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l send-timeout -d 'How long the modem may take to confirm the bytes of a send command [default: 60s]' -r
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l json -d 'For list and check: print JSON'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l radio -d 'Ask the modem about its cell, one question a minute when it has nothing else to do'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l radio-identity -d 'The same as --radio; and show which cell and which modem it is (IMEI)'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -l no-wait -d 'Give up at the first failure instead of waiting for device, SIM and network'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -s v -l verbose -d 'Log commands and answers; if given twice, the whole transcript without payload'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -s q -l quiet -d 'Log warnings and errors only'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand demo" -l once -d 'End after the transfer instead of going on for tests by hand'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand demo" -s v -l verbose -d 'Log commands and answers; if given twice, the whole transcript without payload'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand demo" -s q -l quiet -d 'Log warnings and errors only'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand demo" -s h -l help -d 'Print help'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand help; and not __fish_seen_subcommand_from listen connect run status at doctor survey cert demo" -f -a "listen" -d 'Listen locally and connect every client to a TLS server through the modem'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand help; and not __fish_seen_subcommand_from listen connect run status at doctor survey cert demo" -f -a "connect" -d 'Connect standard input and output to a TLS server through the modem'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand help; and not __fish_seen_subcommand_from listen connect run status at doctor survey cert demo" -f -a "run" -d 'Run the tunnels of a configuration file'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand help; and not __fish_seen_subcommand_from listen connect run status at doctor survey cert demo" -f -a "status" -d 'Show the state of a running daemon and its modem'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand help; and not __fish_seen_subcommand_from listen connect run status at doctor survey cert demo" -f -a "at" -d 'Send one AT command to the modem, between the commands of a running daemon'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand help; and not __fish_seen_subcommand_from listen connect run status at doctor survey cert demo" -f -a "doctor" -d 'Find out why a modem does not connect, step by step'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand help; and not __fish_seen_subcommand_from listen connect run status at doctor survey cert demo" -f -a "survey" -d 'Measure the module at hand, and write what was found to a module file'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand help; and not __fish_seen_subcommand_from listen connect run status at doctor survey cert demo" -f -a "cert" -d 'Manage the certificates and keys that are stored in the modem'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand help; and not __fish_seen_subcommand_from listen connect run status at doctor survey cert demo" -f -a "demo" -d 'Show a verified transfer through the embedded modem and a local TLS server'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand help; and not __fish_seen_subcommand_from listen connect run status at doctor survey cert demo" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -a 'put' -d 'store FILE, a certificate or a key in PEM, and print its name there'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -a 'list' -d 'list the files, and the tunnels that they belong to'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -a 'get' -d 'print the file called NAME'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -a 'remove' -d 'remove the file called NAME'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -a 'prune' -d 'remove the files that this program has stored and no tunnel uses'
complete -c qssl-tunnel -n "__fish_qssl_tunnel_using_subcommand cert" -a 'check' -d 'check FILE, or else every certificate in the modem'
