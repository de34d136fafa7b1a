using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;
using EfEnvelope.JobProcess.Load;

namespace EfEnvelope.JobProcess.Faults;

/// <summary>This executable once more, as a process of its own that can be killed, suspended and read. Killed when it is disposed of.</summary>
internal sealed class ChildProcess : IAsyncDisposable
{
    public const int Kill9 = 9;
    public const int Terminate = 15;

    private readonly Process _process;
    private readonly List<string> _lines = [];
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private event Action? Changed;

    private ChildProcess(ProcessStartInfo start)
    {
        _process = new Process { StartInfo = start, EnableRaisingEvents = true };
        _process.OutputDataReceived += (_, e) => Add(e.Data);
        _process.ErrorDataReceived += (_, e) => Add(e.Data);
        _process.Exited += (_, _) => _ended.TrySetResult();
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public static int Suspend => OperatingSystem.IsMacOS() ? 17 : 19;

    public static int Continue => OperatingSystem.IsMacOS() ? 19 : 18;

    public bool HasExited => _process.HasExited;

    public int Id => _process.Id;

    public IReadOnlyList<string> Lines
    {
        get
        {
            lock (_lines)
            {
                return [.. _lines];
            }
        }
    }

    public string Output => string.Join('\n', Lines);

    /// <summary>Starts a verb on a database.</summary>
    /// <param name="verb">The verb.</param>
    /// <param name="target">The database.</param>
    /// <param name="more">More words.</param>
    /// <param name="fault">What is to happen to it, and where.</param>
    /// <param name="skew">Of its clock.</param>
    /// <param name="maximumFileBytes">A size beyond which it can write no file, as on a full disk; 0 for none.</param>
    /// <param name="maximumHeapBytes">Managed memory beyond which it ends with an OutOfMemoryException; 0 for none.</param>
    public static ChildProcess Start(string verb, Target target, IEnumerable<string> more, string? fault = null, TimeSpan skew = default, long maximumFileBytes = 0, long maximumHeapBytes = 0)
    {
        var start = new ProcessStartInfo(maximumFileBytes == 0 ? "dotnet" : "bash") { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        if (maximumHeapBytes != 0)
        {
            start.Environment["DOTNET_GCHeapHardLimit"] = maximumHeapBytes.ToString("x", System.Globalization.CultureInfo.InvariantCulture);
        }

        if (maximumFileBytes != 0)
        {
            // A write beyond the limit fails instead of ending the process; the runtime's own large mapping is left out.
            foreach (var word in new[] { "-c", $"trap '' XFSZ; ulimit -f {maximumFileBytes / 1024}; exec dotnet \"$@\"", "bash" })
            {
                start.ArgumentList.Add(word);
            }

            start.Environment["DOTNET_EnableWriteXorExecute"] = "0";
        }

        // Inside a test run the dependencies are the test project's.
        var host = Path.Combine(AppContext.BaseDirectory, "EfEnvelope.Tests");
        string[] inTests = File.Exists(host + ".deps.json") ? ["exec", "--depsfile", host + ".deps.json", "--runtimeconfig", host + ".runtimeconfig.json"] : [];
        foreach (var word in (string[])[
            .. inTests, Path.Combine(AppContext.BaseDirectory, "EfEnvelope.JobProcess.dll"), verb, "--provider", target.Provider, "--database", target.ConnectionString, "--key-file", target.KeyFile,
            "--lease", target.SealingLease.TotalSeconds.ToString(System.Globalization.CultureInfo.InvariantCulture), "--clock-skew", skew.TotalSeconds.ToString(System.Globalization.CultureInfo.InvariantCulture), .. more])
        {
            start.ArgumentList.Add(word);
        }

        start.Environment[FaultPlan.Variable] = fault ?? "";
        return new ChildProcess(start);
    }

    /// <summary>The first line that a condition holds for.</summary>
    public async Task<string> LineAsync(Func<string, bool> condition, TimeSpan timeout)
    {
        var found = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        void Look()
        {
            if (Lines.FirstOrDefault(condition) is { } line)
            {
                found.TrySetResult(line);
            }
        }

        Changed += Look;
        try
        {
            Look();
            if (await Task.WhenAny(found.Task, _ended.Task, Task.Delay(timeout)) != found.Task)
            {
                Look();
            }

            return found.Task.IsCompleted ? await found.Task : throw new InvalidOperationException($"Process {Id} did not say what was waited for:\n{Output}");
        }
        finally
        {
            Changed -= Look;
        }
    }

    /// <summary>The last JSON line of an event.</summary>
    public JsonElement? Event(string name)
        => Lines.LastOrDefault(l => l.StartsWith($"{{\"event\":\"{name}\"", StringComparison.Ordinal)) is { } line ? JsonDocument.Parse(line).RootElement : null;

    public void Signal(int signal)
    {
        if (SendSignal(Id, signal) != 0 && !HasExited)
        {
            throw new InvalidOperationException($"Signal {signal} could not be sent.");
        }
    }

    /// <summary>Ends its standard input, which asks a writer to stop.</summary>
    public void CloseInput() => _process.StandardInput.Close();

    public async Task<int> ExitAsync(TimeSpan timeout)
    {
        try
        {
            await _process.WaitForExitAsync(new CancellationTokenSource(timeout).Token);
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException($"Process {Id} did not end within {timeout}:\n{string.Join('\n', Lines.TakeLast(30))}");
        }

        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            await _process.WaitForExitAsync();
        }

        _process.Dispose();
    }

    private void Add(string? line)
    {
        if (line is null)
        {
            return;
        }

        lock (_lines)
        {
            _lines.Add(line);
        }

        Changed?.Invoke();
    }

    [DllImport("libc", EntryPoint = "kill")]
    private static extern int SendSignal(int process, int signal);
}
