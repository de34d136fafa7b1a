using System.Globalization;
using Quartz;

namespace EfEnvelope.Quartz;

/// <summary>A job's progress as the scheduler shows it, on every node. Thread safe: the scheduler keeps the latest.</summary>
internal sealed class FiringProgress(IJobExecutionContext firing, IProgress<ReencryptionProgress>? also) : IProgress<ReencryptionProgress>
{
    public void Report(ReencryptionProgress value)
    {
        var all = value.Done + value.ToDo;
        firing.ReportProgress(all == 0 ? 100 : (int)(value.Done * 100 / all), string.Create(CultureInfo.InvariantCulture, $"{value.Table}: {value.Done} of {all} rows"));
        also?.Report(value);
    }
}
