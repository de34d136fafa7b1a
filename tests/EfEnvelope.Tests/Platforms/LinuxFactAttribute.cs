namespace EfEnvelope.Tests.Platforms;

/// <summary>A test that elsewhere is reported as skipped, with the reason, and not as passed.</summary>
internal sealed class LinuxFactAttribute : FactAttribute
{
    public LinuxFactAttribute()
    {
        if (!OperatingSystem.IsLinux())
        {
            Skip = "Reads the image of the process from /proc, which Linux alone has.";
        }
    }
}
