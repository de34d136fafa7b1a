using System.Globalization;
using System.Runtime.InteropServices;
using EfEnvelope.Reencryption;

namespace EfEnvelope.JobProcess.Faults;

/// <summary>
/// What happens at which point of this process, from <c>EFENVELOPE_FAULT</c>: <c>kill:Committed:3</c> kills it (SIGKILL) when it reaches that step for the third time, <c>stop:Written:1</c> suspends it
/// (SIGSTOP) until somebody continues it. Several are separated by commas. Each is announced on standard output before.
/// </summary>
internal sealed class FaultPlan
{
    public const string Variable = "EFENVELOPE_FAULT";

    /// <summary>A writer's point: its values are sealed, its statement is not sent.</summary>
    public const string Sealed = nameof(Sealed);

    private readonly Dictionary<string, (bool Kill, int Count)> _faults = new(StringComparer.OrdinalIgnoreCase);
    private readonly Dictionary<string, int> _reached = new(StringComparer.OrdinalIgnoreCase);

    private FaultPlan(string text)
    {
        foreach (var fault in text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            var parts = fault.Split(':');
            if (parts.Length is < 2 or > 3 || parts[0] is not ("kill" or "stop") || (parts[1] != Sealed && !Enum.TryParse<JobStep>(parts[1], ignoreCase: true, out _)))
            {
                throw new ArgumentException($"{Variable} holds '{fault}'; expected kill:STEP[:N] or stop:STEP[:N], where STEP is {Sealed} or one of {string.Join(", ", Enum.GetNames<JobStep>())}.");
            }

            _faults[parts[1]] = (parts[0] == "kill", parts.Length == 3 ? int.Parse(parts[2], CultureInfo.InvariantCulture) : 1);
        }
    }

    public static FaultPlan FromEnvironment() => new(Environment.GetEnvironmentVariable(Variable) ?? "");

    public bool Knows(string step) => _faults.ContainsKey(step);

    public ValueTask ReachAsync(JobStep step)
    {
        Reach(step.ToString());
        return ValueTask.CompletedTask;
    }

    public void Reach(string step)
    {
        if (!_faults.TryGetValue(step, out var fault))
        {
            return;
        }

        lock (_reached)
        {
            _reached[step] = _reached.GetValueOrDefault(step) + 1;
            if (_reached[step] != fault.Count)
            {
                return;
            }
        }

        Console.WriteLine($"AT {step}");
        Console.Out.Flush();

        if (OperatingSystem.IsWindows())
        {
            throw new PlatformNotSupportedException("Faults are signals, which this platform does not have.");
        }

        // A signal to oneself need not have taken effect when the call returns: this thread goes no further until somebody has continued the process.
        using var continued = new ManualResetEventSlim();
        using var registration = PosixSignalRegistration.Create(PosixSignal.SIGCONT, _ => continued.Set());
        if (Signal(Environment.ProcessId, fault.Kill ? 9 : OperatingSystem.IsMacOS() ? 17 : 19) != 0)
        {
            throw new InvalidOperationException("The process could not signal itself.");
        }

        continued.Wait();
    }

    [DllImport("libc", EntryPoint = "kill")]
    private static extern int Signal(int process, int signal);
}
